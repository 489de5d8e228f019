package api

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/view"
)

// problem is a refusal on its way out: what the framework asks of an error, around [view.Problem].
type problem struct {
	view.Problem
	headers http.Header
}

func newProblem(status int, detail string) *problem {
	return &problem{view.Problem{Title: http.StatusText(status), Status: status, Detail: detail}, http.Header{}}
}

func (p *problem) Error() string             { return p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.headers }
func (p *problem) ContentType(string) string { return "application/problem+json" }

// MarshalJSON writes the problem alone.
func (p *problem) MarshalJSON() ([]byte, error) { return json.Marshal(p.Problem) }

func (p *problem) with(name, value string) *problem {
	p.headers.Set(name, value)
	return p
}

func (p *problem) write(w http.ResponseWriter) {
	for k, v := range p.headers {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	// the peer may be gone; there is nobody else to tell
	_ = json.NewEncoder(w).Encode(p.Problem)
}

// badField is a problem with one part of a request.
func badField(status int, location, message string) *problem {
	p := newProblem(status, "validation failed")
	p.Errors = []view.FieldProblem{{Location: location, Message: message}}
	return p
}

// statuses is the API's table from what went wrong to the HTTP status.
var statuses = map[credential.ErrorKind]int{
	credential.Invalid:     http.StatusUnprocessableEntity,
	credential.NotFound:    http.StatusNotFound,
	credential.Exists:      http.StatusConflict,
	credential.Conflict:    http.StatusConflict,
	credential.NoRight:     http.StatusForbidden,
	credential.NeedsForce:  http.StatusConflict,
	credential.Down:        http.StatusServiceUnavailable,
	credential.ReadOnly:    http.StatusConflict,
	credential.Unprocessed: http.StatusUnprocessableEntity,
	credential.Internal:    http.StatusInternalServerError,
}

// problemOf translates an error of the authority. where is what its fields
// are part of: "body" or "query". The text of an internal one does not leave.
func problemOf(err error, where string, conditional bool) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	e, ok := errors.AsType[*credential.Error](err)
	if !ok {
		e = &credential.Error{Kind: credential.Internal}
	}
	p := newProblem(statuses[e.Kind], e.Message)
	switch e.Kind {
	case credential.Internal:
		p.Detail = "internal error"
	case credential.Invalid:
		if p.Detail == "" {
			p.Detail = "validation failed"
		}
	case credential.NoRight:
		p.with("WWW-Authenticate", `Bearer realm="cardea", error="insufficient_scope"`)
	case credential.NeedsForce:
		p.Force = true
	case credential.Down:
		p.with("Retry-After", "1")
	case credential.Conflict:
		if conditional {
			p.Status, p.Title = http.StatusPreconditionFailed, http.StatusText(http.StatusPreconditionFailed)
		}
	}
	if e.Kind != credential.Internal {
		for _, f := range e.Fields {
			p.Errors = append(p.Errors, view.FieldProblem{Location: where + "." + f.Field, Message: f.Message})
		}
	}
	return p
}

// refusal is the API's table from the gate's reason to the answer: the same for every cause of a class (E02).
func refusal(r credential.Reason, after time.Duration) *problem {
	switch r.Class() {
	case credential.InvalidRequest:
		return newProblem(http.StatusBadRequest, "more than one credential: send one").
			with("WWW-Authenticate", `Bearer realm="cardea", error="invalid_request"`)
	case credential.Forbidden:
		return newProblem(http.StatusForbidden, "insufficient scope").
			with("WWW-Authenticate", `Bearer realm="cardea", error="insufficient_scope"`)
	case credential.SlowDown:
		return slowDown(r).with("Retry-After", seconds(after))
	case credential.CannotKnow:
		return newProblem(http.StatusServiceUnavailable, "cannot decide now, try again").with("Retry-After", seconds(after))
	default:
		return newProblem(http.StatusUnauthorized, "invalid token").
			with("WWW-Authenticate", `Bearer realm="cardea", error="invalid_token"`)
	}
}

// quotaExceeded is a problem type (draft-ietf-httpapi-ratelimit-headers-10 section 5.1).
const quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

// slowDown says what there is too much of. Whose credential has limits is told which: they have proved that it is theirs.
func slowDown(r credential.Reason) *problem {
	violated := gate.Violated(r)
	if violated == "" {
		return newProblem(http.StatusTooManyRequests, "too many attempts")
	}
	text := "this credential has made as many requests a second as it may"
	if r == credential.QuotaSpent {
		text = "this credential has made as many requests this month as it may"
	}
	p := newProblem(http.StatusTooManyRequests, text+": RateLimit-Policy says how many that are, Retry-After when to go on")
	p.Type, p.Violated = quotaExceeded, []string{violated}
	return p
}

// seconds is a Retry-After of at least one second.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}

// maxProblems bounds an answer: a body of nothing but mistakes would get one that is many times larger (H17).
const maxProblems = 100

// plainly puts what the framework says in the words of its own language into ours.
func plainly(message string) string {
	switch {
	case strings.HasPrefix(message, "invalid date/time for format"), message == "expected string to be RFC 3339 date-time":
		return "is no time such as 2027-01-31T00:00:00Z"
	case strings.HasPrefix(message, "expected value to match exactly one schema"):
		return "has none of the forms that are possible here: see /openapi.json"
	}
	return message
}

// withoutValues is a transformer for what the framework itself says of a
// request: it would repeat the value that was sent, which may be a token.
func withoutValues(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := newProblem(m.Status, m.Detail)
	for _, e := range m.Errors {
		if e == nil {
			continue
		}
		if len(p.Errors) == maxProblems {
			p.Detail += "; only the first of them are listed"
			break
		}
		p.Errors = append(p.Errors, view.FieldProblem{Location: e.Location, Message: plainly(e.Message)})
	}
	slices.SortStableFunc(p.Errors, func(a, b view.FieldProblem) int { return strings.Compare(a.Location, b.Location) })
	return p, nil
}
