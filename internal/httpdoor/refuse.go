package httpdoor

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// answer is a refusal: always the same bytes for the same class (E02).
type answer struct {
	status    int
	reason    string
	challenge []string // WWW-Authenticate (RFC 6750 §3); nil for none
	close     bool     // the connection must not be used further
	body      []byte
	length    []string
}

const realm = `Bearer realm="cardea"`

func newAnswer(status int, reason, code string) *answer {
	a := &answer{status: status, reason: reason}
	a.body = []byte(`{"success":false,"reason":` + strconv.Quote(reason) + "}")
	a.length = []string{strconv.Itoa(len(a.body))}
	if code != "" {
		a.challenge = []string{realm + `, error="` + code + `"`}
	}
	return a
}

func closing(a *answer) *answer { a.close = true; return a }

// withBasic asks for a user name and a password as well (RFC 7617).
func withBasic(a *answer) *answer {
	a.challenge = append(a.challenge, `Basic realm="cardea", charset="UTF-8"`)
	return a
}

var (
	// What the gate has said, by class.
	invalidToken   = newAnswer(401, "invalid token", "invalid_token")            // for every cause, also if nothing was presented
	invalidLogin   = withBasic(newAnswer(401, "invalid token", "invalid_token")) // the same where passwords are taken
	invalidRequest = newAnswer(400, "invalid request", "invalid_request")
	noScope        = newAnswer(403, "insufficient scope", "insufficient_scope")
	slowDown       = newAnswer(429, "too many attempts", "")
	cannotKnow     = newAnswer(503, "temporarily unavailable", "")

	// What the caller's own limits say, which are no secret to it.
	tooFast   = newAnswer(429, "more requests a second than this credential may: see Retry-After", "")
	monthOver = newAnswer(429, "more requests this month than this credential may: see Retry-After", "")

	// What the door says by itself.
	badPath       = newAnswer(400, "the path can be read in more than one way", "")
	badTarget     = newAnswer(400, "the request target is not a path", "")
	tokenInQuery  = newAnswer(400, "a token in the query string is not accepted; send it in the Authorization header", "invalid_request")
	badForwarded  = newAnswer(400, "X-Forwarded-For or Forwarded cannot be read", "")
	badMethod     = closing(newAnswer(405, "method not allowed", ""))
	tooManyFields = closing(newAnswer(431, "too many header fields", ""))
	noRoute       = newAnswer(404, "no such route", "")
	badBody       = closing(newAnswer(400, "malformed request body", ""))
	bodyTooLarge  = closing(newAnswer(413, "request body too large", ""))
	bodyTooSlow   = closing(newAnswer(408, "request body too slow", ""))
	upstreamDown  = newAnswer(502, "upstream unavailable", "")
	upstreamSlow  = newAnswer(504, "upstream timeout", "")

	// What /auth says to proxies.
	proxiesOnly  = newAnswer(403, "forward authentication is for trusted proxies", "")
	badOriginal  = newAnswer(403, "exactly one of X-Original-Method with X-Original-URI and X-Forwarded-Method with X-Forwarded-Uri is needed", "")
	badOrigPath  = newAnswer(403, "the original path can be read in more than one way", "")
	queryToken   = newAnswer(403, tokenInQuery.reason, "")
	badOrigAddr  = newAnswer(403, badForwarded.reason, "")
	ambiguous    = newAnswer(403, invalidRequest.reason, "invalid_request")
	slowDownAuth = newAnswer(403, slowDown.reason, "")
	tooFastAuth  = newAnswer(403, tooFast.reason, "")
	monthAuth    = newAnswer(403, monthOver.reason, "")
)

// byClass is the door's one table from what a caller may learn to its answer.
var byClass = [...]*answer{
	credential.InvalidRequest: invalidRequest,
	credential.InvalidToken:   invalidToken,
	credential.Forbidden:      noScope,
	credential.SlowDown:       slowDown,
	credential.CannotKnow:     cannotKnow,
}

// authByClass is the same for /auth: nginx knows only 401 and 403, and makes a
// 500 of everything else, which is right for 503 alone.
var authByClass = [...]*answer{
	credential.InvalidRequest: ambiguous,
	credential.InvalidToken:   invalidToken,
	credential.Forbidden:      noScope,
	credential.SlowDown:       slowDownAuth,
	credential.CannotKnow:     cannotKnow,
}

// answersAt returns what a table says about paths that a chain decides about, "" for none, to whoever has shown ev and is refused for a reason.
func (d *Door) answersAt(r *http.Request, table []*answer, chain string, ev *gate.Evidence, why credential.Reason) []*answer {
	invalid := invalidLogin
	switch {
	case ev.DPoP != nil:
		invalid = invalidWith(why)
	case why == credential.ProofMissing:
		invalid = showProof
	case !isGit(r) && (chain == "" || !d.gate.TakesPasswords(chain)):
		return table
	}
	table = slices.Clone(table)
	table[credential.InvalidToken] = invalid
	return table
}

// isGit reports whether a client is Git, or what Git fetches large files with. They show nothing before they are asked for a user name and a password,
// even if they have a token to show as one. Browsers, which would ask a person, are asked only where passwords are taken.
func isGit(r *http.Request) bool {
	agent := r.Header["User-Agent"]
	return len(agent) == 1 && (strings.HasPrefix(agent[0], "git/") || strings.HasPrefix(agent[0], "git-lfs/"))
}

var (
	typeJSON = []string{"application/json"}
	noStore  = []string{"no-store"}
	closeIt  = []string{"close"}
)

// refuse writes an answer. Before it goes out, net/http reads the rest of a
// short body: that must not take for ever (H16).
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, a *answer) {
	if r.Body != nil && r.Body != http.NoBody {
		http.NewResponseController(w).SetReadDeadline(d.unreadDeadline(a))
	}
	h := w.Header()
	h["Content-Type"] = typeJSON
	h["Content-Length"] = a.length
	h["Cache-Control"] = noStore
	if a.challenge != nil {
		h["Www-Authenticate"] = a.challenge
	}
	if a.close && r.ProtoMajor == 1 {
		h["Connection"] = closeIt
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// unreadDeadline is in the past if the connection is not used further: then nothing is read any more.
func (d *Door) unreadDeadline(a *answer) time.Time {
	if a.close {
		return time.Unix(1, 0)
	}
	return d.now().Add(d.limits.Unread)
}

// refuseFor answers what the gate has said.
func (d *Door) refuseFor(w http.ResponseWriter, r *http.Request, table []*answer, out gate.Outcome) *answer {
	class := out.Reason.Class()
	if class == credential.SlowDown || class == credential.CannotKnow {
		w.Header()["Retry-After"] = []string{retryAfter(out.RetryAfter)}
	}
	a := table[class]
	asked := a.status == slowDown.status
	switch {
	case out.Reason == credential.RateLimited && asked:
		a = tooFast
	case out.Reason == credential.RateLimited:
		a = tooFastAuth
	case out.Reason == credential.QuotaSpent && asked:
		a = monthOver
	case out.Reason == credential.QuotaSpent:
		a = monthAuth
	}
	d.refuse(w, r, a)
	return a
}

// retryAfter rounds up to whole seconds, at least one (RFC 9110 §10.2.3).
func retryAfter(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}
