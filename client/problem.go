package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Problem is how the API refuses (RFC 9457). It holds nothing of the request but names of fields.
type Problem struct {
	Title  string         `json:"title"`
	Status int            `json:"status"` // of HTTP
	Detail string         `json:"detail"` // what was wrong and what to do
	Errors []FieldProblem `json:"errors"` // everything that is wrong with the request
	Force  bool           `json:"force"`  // the same request with force is done

	RetryAfter time.Duration `json:"-"` // when to ask again; 0 if the server did not say
}

// FieldProblem is one thing that is wrong with a request.
type FieldProblem struct {
	Location string `json:"location"` // "body.ip_whitelist[1]"
	Message  string `json:"message"`
}

// Error says all of it on one line.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", p.Status, p.Title)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for i, f := range p.Errors {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + f.Location + " " + f.Message)
	}
	return b.String()
}

func problemOf(resp *http.Response, answer []byte) *Problem {
	var p struct {
		Problem
		Reason string `json:"reason"` // the short form of the doors
	}
	if json.Unmarshal(answer, &p) != nil {
		p.Problem, p.Reason = Problem{}, "" // of something in between, perhaps
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	if p.Detail == "" {
		p.Detail = p.Reason
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		p.RetryAfter = time.Duration(n) * time.Second
	}
	return &p.Problem
}
