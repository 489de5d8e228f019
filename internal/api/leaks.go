package api

import (
	"context"
	"net/http"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/view"
)

const (
	maxLeakBody = 64 << 10
	maxLeaking  = 16          // reports that are being looked into at the same time
	leakTime    = time.Minute // for one report
)

type leaksOut = reply[view.LeaksReceived]

// leaks takes reports of tokens that were found in public, from anybody: whoever holds a token may end it.
func (s *server) leaks() {
	handle(s, op{
		id: "reportLeaks", method: http.MethodPost, path: "/leaks", summary: "Report tokens that were found in public: those that are live are revoked or put into quarantine, and their owners are told",
		public: true, maxBody: maxLeakBody, status: http.StatusAccepted,
		example: `{"reporter":"secret-scanner","leaks":[{"token":"…","url":"https://example.com/public/config.txt"}]}`,
	}, func(ctx context.Context, c *caller, in *BodyIn[view.LeakReport]) (*leaksOut, error) {
		return s.reportLeaks(c, in.Body)
	})
}

// reportLeaks answers the same whatever the tokens are, and looks at them afterwards: what is live shows neither in the answer nor in the time that it takes (R08).
func (s *server) reportLeaks(c *caller, in view.LeakReport) (*leaksOut, error) {
	var p credential.Problems
	for i := range in.Leaks {
		var own credential.Problems
		authority.CheckLeak(&own, in.Leaks[i].URL, in.Reporter)
		for _, f := range own {
			field := f.Field
			if field == "source_url" {
				field = view.Item("leaks", i) + ".url"
			}
			p.Add(field, "%s", f.Message)
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	now := s.api.Now()
	if wait := s.api.reports.wait(c.addr, now); wait > 0 {
		return nil, refusal(credential.TooManyAttempts, wait)
	}
	s.api.reports.wrong(c.addr, now)
	select {
	case s.api.leaking <- struct{}{}:
	default:
		return nil, refusal(credential.Unavailable, 5*time.Second)
	}
	s.api.working.Add(1)
	go func() {
		defer s.api.working.Done()
		defer func() { <-s.api.leaking }()
		s.lookInto(in, c.source)
	}()
	return answer(view.LeaksReceived{Received: len(in.Leaks)}), nil
}

// lookInto does what is to be done about each token of a report.
func (s *server) lookInto(in view.LeakReport, source string) {
	ctx, cancel := context.WithTimeout(context.Background(), leakTime)
	defer cancel()
	seen := map[gate.Found]bool{}
	for _, l := range in.Leaks {
		f := s.api.Gate.Whose(ctx, l.Token.Reveal())
		if f == nil || seen[*f] {
			continue
		}
		seen[*f] = true
		err := s.api.Authority.Leaked(ctx, authority.Leak{
			Org: f.Org, Credential: f.Credential, Proof: f.Proof, Where: l.URL, Reporter: in.Reporter, Source: source,
		})
		if err != nil {
			s.api.Log.Error("a token that was found in public could not be ended", "credential", f.Credential, "error", err)
		}
	}
}

// Drain waits for what was promised to those who have been answered already.
func (a *API) Drain() { a.working.Wait() }
