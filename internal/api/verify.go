package api

import (
	"context"
	"net/http"
	"net/netip"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/policy"
	"cardea/internal/view"
)

type verifyIn = BodyIn[view.Verify]

type (
	verdictOut     = reply[view.Verdict]
	explanationOut = reply[view.Explanation]
	whoAmIOut      = reply[view.WhoAmI]
	trustOut       = reply[view.TrustAnchor]
)

func (s *server) verify() {
	const example = `{"token":"cardea_dev_…","action":"mqtt:publish","resource":"db/append/example","ip":"10.1.2.3"}`
	handle(s, op{
		id: "verify", method: http.MethodPost, path: "/verify", summary: "Whose token is this, and may it do that",
		right: "credentials:verify on /credentials/*", example: example,
	}, func(ctx context.Context, c *caller, in *verifyIn) (*verdictOut, error) {
		v, err := s.ask(ctx, c, "credentials:verify", in.Body, false)
		return answer(v.Verdict), err
	})
	handle(s, op{
		id: "explain", method: http.MethodPost, path: "/explain", summary: "The same with every rule that was looked at",
		right: "credentials:explain on /credentials/*", example: example,
	}, func(ctx context.Context, c *caller, in *verifyIn) (*explanationOut, error) {
		v, err := s.ask(ctx, c, "credentials:explain", in.Body, true)
		return answer(v), err
	})
	handle(s, op{
		id: "whoami", method: http.MethodGet, path: "/whoami", summary: "The caller as the gate knows it",
	}, func(_ context.Context, c *caller, _ *struct{}) (*whoAmIOut, error) {
		return answer(c.whoAmI()), nil
	})
	handle(s, op{
		id: "getTrustAnchor", method: http.MethodGet, path: "/ca", summary: "The root certificate that clients must trust",
	}, func(context.Context, *caller, *struct{}) (*trustOut, error) {
		return answer(view.TrustAnchor{Root: string(s.api.Authority.TrustAnchor())}), nil
	})
}

func (c *caller) whoAmI() view.WhoAmI {
	if c.id == nil {
		return view.WhoAmI{Org: c.Org, Principal: c.Actor.Principal, Scopes: []string{credential.ScopeAdmin}, Local: true}
	}
	return view.WhoAmI{
		Org: c.id.Org, Principal: c.id.Principal, PrincipalKind: string(c.id.PrincipalKind), Credential: c.id.Credential, Session: c.id.Session(),
		Kind: string(c.id.Kind), Scopes: append([]string{}, c.id.Scopes...), ExpiresAt: utc(c.id.Deadline),
	}
}

// ask has the right, reads the question and has the gate answer it.
func (s *server) ask(ctx context.Context, c *caller, right string, q view.Verify, explain bool) (view.Explanation, error) {
	if err := s.api.Authority.Authorize(c.Caller, right, "/credentials/*"); err != nil {
		return view.Explanation{}, err
	}
	ev, access, err := question(q)
	if err != nil {
		return view.Explanation{}, err
	}
	v := s.api.Gate.Verify(ctx, c.Org, ev, access, explain)
	if v.Reason.Class() == credential.CannotKnow {
		return view.Explanation{}, refusal(v.Reason, 0)
	}
	return explanation(v), nil
}

func question(q view.Verify) (*gate.Evidence, *policy.Access, error) {
	var p credential.Problems
	ev := &gate.Evidence{Token: q.Token.Reveal(), Door: "api"}
	if q.Token == "" {
		p.Add("token", "is empty")
	}
	if q.IP != "" {
		a, err := netip.ParseAddr(q.IP)
		if err != nil || a.Zone() != "" {
			p.Add("ip", "is not an address such as 10.1.2.3")
		}
		ev.Source = a.Unmap()
	}
	if q.Action == "" {
		if q.Resource != "" {
			p.Add("action", "is empty, but there is a resource")
		}
		return ev, nil, p.Err()
	}
	a, err := policy.ParseAccess(q.Action, q.Resource)
	if e, ok := err.(*credential.Error); ok {
		p = append(p, e.Fields...)
	}
	a.QoS, a.Retain, a.ClientID, a.Source = byte(q.QoS), q.Retain, q.ClientID, ev.Source
	return ev, &a, p.Err()
}

func explanation(v gate.Verdict) view.Explanation {
	out := view.Explanation{
		Verdict: view.Verdict{Allowed: v.Allowed, Reason: v.Reason.String(), ExpiresAt: utc(v.Expires)},
		Rules:   make([]view.Look, len(v.Looks)),
	}
	if id := v.Identity; id != nil {
		out.Principal, out.PrincipalKind, out.Credential, out.Org = id.Principal, string(id.PrincipalKind), id.Credential, id.Org
		out.Scopes = id.Scopes
	}
	for i, l := range v.Looks {
		out.Rules[i] = view.Look{Side: l.Side, Scope: l.Scope, Rule: view.FromRule(l.Rule), Matches: l.Matches, Why: l.Why}
	}
	return out
}
