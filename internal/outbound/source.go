package outbound

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"cardea/internal/credential"
)

// source implements [credential.Source].
type source struct {
	plan  *plan
	pool  *pool
	log   *slog.Logger
	now   func() time.Time
	tally tally
}

func newSource(c *Client, to *plan) *source {
	return &source{plan: to, pool: newPool(c, to), log: c.log.With("service", to.target.name()), now: c.now}
}

const circuitOpen = "the circuit is open: the service has failed several times in a row and is left alone for some seconds"

// Ask implements [credential.Source].
func (s *source) Ask(ctx context.Context, l *credential.Login) credential.Answer {
	c := newCall()
	var why string
	if c.request, c.reply.body, why = s.plan.request.render(c.request, c.reply.body, l); why != "" {
		// The client's doing and not the service's, so that it says nothing about the latter.
		c.free()
		return credential.Answer{Verdict: credential.Unknown, Why: "the service cannot be asked: " + why}
	}
	probe, ok := s.tally.enter(s.now())
	if !ok {
		c.free()
		return credential.Answer{Why: circuitOpen}
	}
	begun := time.Now()
	c.deadline = begun.Add(s.plan.requestTimeout)
	err := s.pool.do(ctx, c)
	if errors.Is(err, errGivenUp) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errNoTime // it is the service that was slow, and not the caller that went away
	}
	if errors.Is(err, errGivenUp) {
		s.tally.forget(probe)
		return failed("nobody waits for the answer any more")
	}
	now := s.now()
	var a credential.Answer
	if err != nil {
		a = failed("%s", explain(err))
	} else {
		a = s.plan.read(&c.reply, now)
		c.free()
	}
	s.leave(probe, &a, time.Since(begun), now)
	return a
}

// explain is an error in words that can be shown.
func explain(err error) string {
	switch err.(type) {
	case errBroken, errCut, errDial:
		return err.Error()
	}
	return reason(err)
}

// leave counts an answer, and says in the log when the circuit turns.
func (s *source) leave(probe bool, a *credential.Answer, took time.Duration, now time.Time) {
	why := ""
	if a.Verdict == credential.Failed || a.Bad {
		why = a.Why
	}
	switch turned := s.tally.leave(probe, why, took, now); {
	case turned && why == "":
		s.log.Info("a REST service answers again")
	case turned:
		s.log.Warn("a REST service is left alone for some seconds: it has failed several times in a row", "why", why)
	}
}

// Status implements [credential.Source].
func (s *source) Status() credential.SourceStatus { return s.tally.status() }

// Close implements [credential.Source].
func (s *source) Close() { s.pool.close() }
