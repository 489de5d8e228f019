package gate

import (
	"reflect"
	"slices"

	"cardea/internal/credential"
)

// apiBook is the APIs of all organisations as of now. It never changes.
type apiBook struct {
	by   map[name]*credential.API // by organisation and audience
	list []credential.API
}

// turnAPIs makes the APIs of a policy those that hold. If nothing has changed the book stays the same pointer.
func (g *Gate) turnAPIs(all []credential.API) {
	if was := g.apis.Load(); was != nil && reflect.DeepEqual(was.list, all) {
		return
	}
	b := &apiBook{by: make(map[name]*credential.API, len(all)), list: slices.Clone(all)}
	for i := range b.list {
		a := &b.list[i]
		b.by[name{a.Org, a.Audience}] = a
	}
	g.apis.Store(b)
}

// narrow returns the scopes of a token that hold here, and whether it is for anything here at all (J08). A token that is for Cardea itself has
// all that it says; one for APIs what those have now.
func (b *apiBook) narrow(gr *grant, issuer string) (scopes []string, here bool) {
	if slices.Contains(gr.audiences, issuer) {
		return gr.scopes, true
	}
	for _, aud := range gr.audiences {
		a := b.by[name{gr.org, aud}]
		if a == nil {
			continue
		}
		here = true
		for _, s := range gr.scopes {
			if slices.Contains(a.Scopes, s) && !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
	}
	return scopes, here
}

// Introspects reports whether a principal may ask about tokens that are for one of some audiences.
func (g *Gate) Introspects(id *Identity, audiences []string) bool {
	b := g.apis.Load()
	for _, aud := range audiences {
		if a := b.by[name{id.Org, aud}]; a != nil && slices.Contains(a.Introspectors, id.Principal) {
			return true
		}
	}
	return false
}
