package authority

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cardea/internal/audit"
	"cardea/internal/credential"
)

// Bounds of an API.
const (
	maxAudienceLen   = 512 // bytes: it is in every token
	maxIntrospectors = 32
)

// NewAPI asks for a resource server.
type NewAPI struct {
	Name          string
	Audience      string
	Description   string
	Scopes        []string
	TokenLife     time.Duration // 0: [credential.DefaultTokenLife]
	Alg           string        // "": [credential.DefaultSigning]
	Introspectors []string      // names or IDs of principals
}

// APIPatch changes the fields that are not nil.
type APIPatch struct {
	Audience, Description, Alg *string
	Scopes, Introspectors      *[]string
	TokenLife                  *time.Duration
	Version                    int64
}

// APIs lists those of the organisation by name.
func (a *Authority) APIs(ctx context.Context, c Caller) ([]credential.API, error) {
	if err := a.Authorize(c, "apis:read", "/apis/*"); err != nil {
		return nil, err
	}
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return nil, err
	}
	own := []credential.API{}
	for _, x := range b.apis() { // which the store has sorted
		own = append(own, ownAPI(x))
	}
	return own, nil
}

// API returns one.
func (a *Authority) API(ctx context.Context, c Caller, name string) (credential.API, error) {
	_, one, err := a.api(ctx, c, "read", name)
	return ownAPI(one), err
}

// ownAPI is one that shares nothing with the store.
func ownAPI(x credential.API) credential.API {
	x.Scopes, x.Introspectors = slices.Clone(x.Scopes), slices.Clone(x.Introspectors)
	return x
}

// apis are those of the organisation.
func (b *book) apis() []credential.API {
	var own []credential.API
	for _, x := range b.all.APIs {
		if x.Org == b.org.Name {
			own = append(own, x)
		}
	}
	return own
}

// api finds one and asks for a right on it.
func (a *Authority) api(ctx context.Context, c Caller, verb, name string) (*book, credential.API, error) {
	hidden := notFound("API", name)
	b, err := a.book(ctx, c.Org)
	if err != nil {
		return nil, credential.API{}, err
	}
	own := b.apis()
	at := slices.IndexFunc(own, func(x credential.API) bool { return x.Name == name })
	if at < 0 {
		return nil, credential.API{}, hidden
	}
	if err := a.permit(c, "apis", verb, name, hidden); err != nil {
		return nil, credential.API{}, err
	}
	return b, own[at], nil
}

// CreateAPI makes a resource server known. What its tokens may carry is not granted to anybody by that: a token carries no more than its credential
// may, and the scopes of an API only take away from it (J26). If nothing can be signed by its algorithm yet, the key for that comes with it.
// Errors: Invalid, NoRight, Exists, Down.
func (a *Authority) CreateAPI(ctx context.Context, c Caller, n NewAPI) (credential.API, error) {
	if err := a.Authorize(c, "apis:create", "/apis/"+n.Name); err != nil {
		return credential.API{}, err
	}
	return a.changingAPIs(ctx, 0, func(ctx context.Context) (credential.API, error) {
		b, err := a.book(ctx, c.Org)
		if err != nil {
			return credential.API{}, err
		}
		one := credential.API{
			Org: c.Org, Name: n.Name, Audience: n.Audience, Description: n.Description, Scopes: slices.Clone(n.Scopes), TokenLife: n.TokenLife, Alg: n.Alg,
			Introspectors: slices.Clone(n.Introspectors),
		}
		if one.Alg == "" {
			one.Alg = credential.DefaultSigning
		}
		var p credential.Problems
		checkAPIName(&p, n.Name)
		if err := a.checkAPI(ctx, &p, b, &one, nil); err != nil {
			return one, err
		}
		ch := a.begin(c)
		one.CreatedAt = ch.at
		d := details{}
		for field, value := range apiDetails(&one) {
			d.put(field, value)
		}
		ch.do(credential.PutAPI{API: one}, "api.create", aboutAPI(n.Name), d)
		return a.putAPI(ctx, ch, one)
	})
}

// UpdateAPI changes one. Tokens are judged by what it is now: scopes that it loses they lose, and with another audience they are for nobody.
// Errors: Invalid, NotFound, Conflict, NoRight, Exists, Down.
func (a *Authority) UpdateAPI(ctx context.Context, c Caller, name string, patch APIPatch) (credential.API, error) {
	return a.changingAPIs(ctx, patch.Version, func(ctx context.Context) (credential.API, error) {
		b, old, err := a.api(ctx, c, "update", name)
		if err != nil {
			return credential.API{}, err
		}
		if err := checkVersion("API", patch.Version, old.Version); err != nil {
			return credential.API{}, err
		}
		now := ownAPI(old)
		set(&now.Audience, patch.Audience)
		set(&now.Description, patch.Description)
		set(&now.Alg, patch.Alg)
		set(&now.TokenLife, patch.TokenLife)
		setList(&now.Scopes, patch.Scopes)
		setList(&now.Introspectors, patch.Introspectors)
		var p credential.Problems
		if err := a.checkAPI(ctx, &p, b, &now, &old); err != nil {
			return credential.API{}, err
		}
		if now.Audience != old.Audience {
			if err := a.unusedAudience(ctx, &old); err != nil {
				return credential.API{}, err
			}
		}
		d, was := details{}, apiDetails(&old)
		for field, value := range apiDetails(&now) {
			d.set(field, was[field], value)
		}
		if len(d) == 0 {
			return ownAPI(old), nil
		}
		ch := a.begin(c)
		ch.do(credential.PutAPI{API: now}, "api.update", aboutAPI(name), d)
		return a.putAPI(ctx, ch, now)
	})
}

// DeleteAPI removes one. Its tokens are for nobody from then on. Conflict while clients that have not ended name its audience: whoever
// came to have that later would get their tokens.
func (a *Authority) DeleteAPI(ctx context.Context, c Caller, name string) error {
	_, err := retry(0, func() (none, error) {
		_, one, err := a.api(ctx, c, "delete", name)
		if err != nil {
			return none{}, err
		}
		if err := a.unusedAudience(ctx, &one); err != nil {
			return none{}, err
		}
		ch := a.begin(c)
		d := details{}
		d.put("audience", one.Audience)
		d.put("scopes", names(one.Scopes))
		ch.do(credential.DeleteAPI{Org: c.Org, Name: name, Version: one.Version}, "api.delete", aboutAPI(name), d)
		return none{}, a.commit(ctx, ch)
	})
	return err
}

// changingAPIs acts while nobody else makes signing keys.
func (a *Authority) changingAPIs(ctx context.Context, version int64, act func(context.Context) (credential.API, error)) (one credential.API, err error) {
	err = a.store.Exclusive(ctx, signingLock, func(ctx context.Context) (err error) {
		one, err = retry(version, func() (credential.API, error) { return act(ctx) })
		return err
	})
	if err != nil {
		return credential.API{}, err
	}
	return one, nil
}

// putAPI commits a change of an API, with the key that it lacks.
func (a *Authority) putAPI(ctx context.Context, ch *change, one credential.API) (credential.API, error) {
	t, err := a.newKeyTurn(ctx, ch)
	if err != nil {
		return one, err
	}
	if _, found := signingKey(t.keys, one.Alg, ch.at); !found {
		if err := a.checkClock(ctx); err != nil {
			return one, err
		}
		if waits, found := waitingKey(t.keys, one.Alg, ch.at); found {
			t.start(waits)
		} else if _, err := t.publish(one.Alg, 0); err != nil {
			return one, err
		}
	}
	if err := a.commit(ctx, ch); err != nil {
		return one, err
	}
	one.Version++
	return one, nil
}

// checkAPI checks all but the name, and puts the names of principals where their IDs may stand.
func (a *Authority) checkAPI(ctx context.Context, p *credential.Problems, b *book, one, old *credential.API) error {
	switch why := checkURI(one.Audience); {
	case one.Audience == "":
		p.Add("audience", "is empty")
	case why != "":
		p.Add("audience", "%s", why)
	case one.Audience == b.issuer:
		p.Add("audience", "is that of Cardea itself")
	default:
		checkText(p, "audience", one.Audience, maxAudienceLen)
	}
	checkText(p, "description", one.Description, maxDescriptionLen)
	checkPolicyNames(p, "scopes", one.Scopes, maxScopes, b.hasScope)
	checkTokenLife(p, "token_life", one.TokenLife)
	checkAlg(p, "alg", one.Alg)
	if err := a.checkIntrospectors(ctx, p, one, old); err != nil {
		return err
	}
	return p.Err()
}

// checkIntrospectors: principals of the organisation, or who was named before and may be gone by now.
func (a *Authority) checkIntrospectors(ctx context.Context, p *credential.Problems, one, old *credential.API) error {
	const field = "introspectors"
	if len(one.Introspectors) > maxIntrospectors {
		p.Add(field, "has more than %d entries", maxIntrospectors)
		return nil
	}
	for i, ref := range one.Introspectors {
		if old != nil && slices.Contains(old.Introspectors, ref) {
			continue
		}
		var who owner
		if plausibleRef(ref) {
			found, err := a.store.Principal(ctx, one.Org, ref)
			if err != nil && !credential.IsNotFound(err) {
				return err
			}
			who = owner{found, err == nil && found.DeletedAt.IsZero()}
		}
		if !who.found {
			p.Add(item(field, i), "names no principal that there is: %s", quote(ref))
			continue
		}
		one.Introspectors[i] = who.Name
	}
	checkRepeats(p, field, one.Introspectors)
	return nil
}

func checkAPIName(p *credential.Problems, name string) {
	if why := credential.CheckName(name); why != "" {
		p.Add("name", "%s", why)
	} else if audit.LooksSecret(name) {
		p.Add("name", "looks like a token")
	}
}

// unusedAudience returns Conflict while clients of the organisation that have not ended name the audience of an API; the text names some.
func (a *Authority) unusedAudience(ctx context.Context, one *credential.API) error {
	var users []string
	err := a.eachCredential(ctx, credential.CredentialFilter{Org: one.Org, Kind: credential.OAuthClient}, func(l credential.Listed) error {
		if l.Client != nil && !l.State.Ended() && slices.Contains(l.Client.Audiences, one.Audience) && len(users) <= fewUsers {
			users = append(users, fmt.Sprintf("client %s of %s", l.ID, l.PrincipalName))
		}
		return nil
	})
	if err != nil || len(users) == 0 {
		return err
	}
	return inUse("audience of API", one.Name, users)
}

func aboutAPI(name string) credential.Subject { return credential.Subject{Kind: "api", ID: name} }

// apiDetails is an API for an event, field by field.
func apiDetails(x *credential.API) map[string]string {
	d := map[string]string{
		"audience": x.Audience, "description": x.Description, "scopes": names(x.Scopes), "alg": x.Alg, "introspectors": names(x.Introspectors), "token_life": "",
	}
	if x.TokenLife > 0 {
		d["token_life"] = credential.FormatDuration(x.TokenLife)
	}
	return d
}
