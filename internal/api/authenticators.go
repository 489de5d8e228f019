package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/view"
)

type newAuthenticatorIn struct {
	OnceIn
	BodyIn[view.NewAuthenticator]
}

type putAuthenticatorIn struct {
	IDIn
	MatchIn
	BodyIn[view.PutAuthenticator]
}

type patchAuthenticatorIn struct {
	IDIn
	MatchIn
	BodyIn[view.PatchAuthenticator]
}

type moveAuthenticatorIn struct {
	IDIn
	MatchIn
	BodyIn[view.Move]
}

type tryAuthenticatorIn struct {
	IDIn
	OptionalIn[view.Trial]
}

type listAuthenticatorsIn struct {
	Listener string `query:"listener" doc:"Only its chain"`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" doc:"How many; without it all"`
	Cursor   string `query:"cursor" doc:"The next of the page before: the ID of its last authenticator"`
}

// page cuts a list. A cursor that is not in it any more is an empty page.
func (in *listAuthenticatorsIn) page(list []authority.Authenticator) (page []authority.Authenticator, next *string) {
	if in.Cursor != "" {
		at := slices.IndexFunc(list, func(a authority.Authenticator) bool { return a.ID == in.Cursor })
		if at < 0 {
			return nil, nil
		}
		list = list[at+1:]
	}
	if in.Limit == 0 || len(list) <= in.Limit {
		return list, nil
	}
	list = list[:in.Limit]
	return list, &list[len(list)-1].ID
}

type (
	authenticatorOut  = reply[view.Authenticator]
	authenticatorsOut = reply[view.Authenticators]
	trialOut          = reply[view.TrialResult]
	figuresOut        = reply[view.AuthenticatorMetrics]
)

func (s *server) authenticators() {
	auth := s.api.Authority
	const on = " on /authenticators/LISTENER"
	const trust = on + "; the caller must have what a REST service, or an issuer of tokens, could give"
	const example = `"url":"http://127.0.0.1:8000/scram","body":{"username":"${username}"}}`
	handle(s, op{
		id: "createAuthenticator", method: http.MethodPost, path: "/authenticators", summary: "Append an authenticator to a chain",
		right: "authenticators:create" + trust, status: http.StatusCreated, example: `{"type":"scram_rest","listener":"default",` + example,
	}, func(ctx context.Context, c *caller, in *newAuthenticatorIn) (*authenticatorOut, error) {
		n, err := authenticatorOf(&in.Body.AuthenticatorSettings)
		if err != nil {
			return nil, err
		}
		n.Type, n.Listener, n.Idempotency = credential.AuthenticatorType(in.Body.Type), in.Body.Listener, in.Key
		made, err := auth.CreateAuthenticator(ctx, c.Caller, n)
		if err != nil {
			return nil, err
		}
		out, err := s.authenticator(made, nil)
		return out.at("authenticators", made.ID), err
	})
	handle(s, op{
		id: "listAuthenticators", method: http.MethodGet, path: "/authenticators", summary: "List the authenticators of all chains, or of one, in their order",
		right: "authenticators:read on /authenticators/LISTENER or *", example: "listener=default",
	}, func(ctx context.Context, c *caller, in *listAuthenticatorsIn) (*authenticatorsOut, error) {
		list, err := auth.Authenticators(ctx, c.Caller, in.Listener)
		if err != nil {
			return nil, err
		}
		list, next := in.page(list)
		return answer(view.Authenticators{Items: view.NewPage(list, "", s.faring).Items, Next: next}), nil
	})
	handle(s, op{
		id: "getAuthenticator", method: http.MethodGet, path: "/authenticators/{id}", summary: "Show an authenticator and how it fares", right: "authenticators:read" + on,
	}, func(ctx context.Context, c *caller, in *IDIn) (*authenticatorOut, error) {
		return s.authenticator(auth.Authenticator(ctx, c.Caller, in.ID))
	})
	handle(s, op{
		id: "putAuthenticator", method: http.MethodPut, path: "/authenticators/{id}", summary: "Replace an authenticator; a secret given as ****** stays",
		right: "authenticators:update" + trust, example: "{" + example,
	}, func(ctx context.Context, c *caller, in *putAuthenticatorIn) (*authenticatorOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		n, err := authenticatorOf(&in.Body.AuthenticatorSettings)
		if err != nil {
			return nil, err
		}
		n.Type, n.Listener, n.Version = credential.AuthenticatorType(in.Body.Type), in.Body.Listener, version
		return s.authenticator(auth.PutAuthenticator(ctx, c.Caller, in.ID, n))
	})
	handle(s, op{
		id: "patchAuthenticator", method: http.MethodPatch, path: "/authenticators/{id}", summary: "Switch an authenticator on or off, or change its precondition",
		right: "authenticators:update" + trust, example: `{"enable":false}`,
	}, func(ctx context.Context, c *caller, in *patchAuthenticatorIn) (*authenticatorOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		return s.authenticator(auth.UpdateAuthenticator(ctx, c.Caller, in.ID, authority.AuthenticatorPatch{
			Enabled: in.Body.Enable, Precondition: in.Body.Precondition, Version: version,
		}))
	})
	handle(s, op{
		id: "deleteAuthenticator", method: http.MethodDelete, path: "/authenticators/{id}", summary: "Take an authenticator out of its chain",
		right: "authenticators:delete" + on, status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *IDIn) (*empty, error) {
		return nil, auth.DeleteAuthenticator(ctx, c.Caller, in.ID)
	})
	handle(s, op{
		id: "moveAuthenticator", method: http.MethodPost, path: "/authenticators/{id}/move", summary: "Give an authenticator another place in its chain",
		right: "authenticators:update" + on, example: `{"position":"front"}`,
	}, func(ctx context.Context, c *caller, in *moveAuthenticatorIn) (*authenticatorOut, error) {
		version, err := in.version()
		if err != nil {
			return nil, err
		}
		return s.authenticator(auth.MoveAuthenticator(ctx, c.Caller, in.ID, in.Body.Position, version))
	})
	handle(s, op{
		id: "testAuthenticator", method: http.MethodPost, path: "/authenticators/{id}/test", summary: "Ask an authenticator what it would do with a login; nobody is let in",
		right: "authenticators:test" + on, example: `{"username":"pump-1","password":"hunter2","clientid":"pump-1"}`,
	}, func(ctx context.Context, c *caller, in *tryAuthenticatorIn) (*trialOut, error) {
		return s.try(ctx, c, in)
	})
	handle(s, op{
		id: "getAuthenticatorMetrics", method: http.MethodGet, path: "/authenticators/{id}/metrics", summary: "Count what an authenticator has done on this node",
		right: "authenticators:read" + on,
	}, func(ctx context.Context, c *caller, in *IDIn) (*figuresOut, error) {
		one, err := auth.Authenticator(ctx, c.Caller, in.ID)
		if err != nil {
			return nil, err
		}
		st, _ := s.api.Gate.AuthenticatorStatus(one.Org, one.ID) // one that this node has not heard of yet has done nothing
		return answer(figures(&st)), nil
	})
}

// authenticatorOf is what POST and PUT say alike.
func authenticatorOf(b *view.AuthenticatorSettings) (authority.NewAuthenticator, error) {
	var p credential.Problems
	n := authority.NewAuthenticator{
		Enabled: b.Enabled(), Precondition: b.Precondition, Scopes: b.Scopes,
		AllowSuperuser: b.AllowSuperuser, DenyOnFailure: b.OnBackendFailure == "deny", Backend: b.Backend(&p), Issuer: b.Issuer.From(),
	}
	return n, p.Err()
}

func (s *server) authenticator(one authority.Authenticator, err error) (*authenticatorOut, error) {
	return tagged(s.faring(one), one.Version), err
}

// faring is an authenticator with how it fares on this node.
func (s *server) faring(one authority.Authenticator) view.Authenticator {
	v := view.FromAuthenticator(one.Authenticator, one.Backend)
	v.Warnings = one.Warnings
	st, known := s.api.Gate.AuthenticatorStatus(one.Org, one.ID)
	v.Status = statusOf(one.Enabled, known, &st, s.api.Now())
	v.LastError, v.LastErrorAt = st.LastError, utc(st.LastErrorAt)
	return v
}

// freshly is how long a failure that is not the REST service's last answer keeps an authenticator failing.
const freshly = time.Minute

// statusOf sums up how an authenticator fares: by the last answer of its REST service, and by what else has gone wrong just now
// or stands in the way of every login.
func statusOf(enabled, known bool, st *gate.AuthenticatorStatus, now time.Time) string {
	src := st.Source
	wrong := st.LastError != "" && (st.LastErrorAt.IsZero() || now.Sub(st.LastErrorAt) < freshly)
	switch {
	case !enabled:
		return "disabled"
	case !known:
		return "unknown"
	case src != nil && (src.Open || src.LastError != ""), wrong:
		return "failing"
	case src != nil && src.Questions == 0:
		return "unknown"
	}
	return "ok"
}

func (s *server) try(ctx context.Context, c *caller, in *tryAuthenticatorIn) (*trialOut, error) {
	one, err := s.api.Authority.AuthenticatorFor(ctx, c.Caller, "test", in.ID)
	if err != nil {
		return nil, err
	}
	body := in.Body
	if body == nil {
		body = &view.Trial{}
	}
	var p credential.Problems
	login := body.Login(one.Listener, one.Org, &p)
	if err := p.Err(); err != nil {
		return nil, err
	}
	t, err := s.api.Gate.Try(ctx, one.Org, one.ID, login, body.Token.Reveal())
	if err != nil {
		return nil, err
	}
	out := view.TrialResult{
		Result: t.Result, Why: t.Why, Precondition: t.Precondition, Principal: t.Principal, Credential: t.Credential,
		IsSuperuser: t.Superuser, ClientAttrs: t.Attrs, ExpireAt: utc(t.ExpireAt), TookMS: view.Milliseconds(t.Took),
	}
	if t.Rules >= 0 {
		out.ACLRules = &t.Rules
	}
	return answer(out), nil
}

func figures(st *gate.AuthenticatorStatus) view.AuthenticatorMetrics {
	m := view.AuthenticatorMetrics{
		Total: st.Total, Success: st.Success, Failed: st.Failed, Ignored: st.Ignored, SuperuserIgnored: st.SuperuserIgnored,
		Latency: view.FromLatency(st.Latency),
	}
	src := st.Source
	if src == nil {
		return m
	}
	m.Source = &view.SourceMetrics{
		Questions: src.Questions, Failures: src.Failures, Circuit: "closed", Latency: view.FromLatency(src.Latency),
		LastError: src.LastError, LastAt: utc(src.LastAt),
	}
	if src.Open {
		m.Source.Circuit = "open"
	}
	return m
}
