package authority

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/policy"
)

// routeFromAPI is the source of the routes that are in the store.
const routeFromAPI = "api"

// reservedPrefixes are what the HTTP door serves itself; see the contract. They are listed as folders: "/auth"
// reserves "/auth" and all below it.
func reservedPrefixes() []string {
	return []string{
		"/api/", "/oauth2/", "/.well-known/", "/auth/", "/backend/", "/mqtt/",
		"/healthz/", "/readyz/", "/metrics/", "/openapi.json/",
	}
}

// Routes lists the stored and the static ones by prefix.
func (a *Authority) Routes(ctx context.Context, c Caller) ([]credential.Route, error) {
	if err := a.Authorize(c, "routes:read", "/routes/*"); err != nil {
		return nil, err
	}
	all, err := a.allRoutes(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(x, y credential.Route) int { return cmp.Compare(x.Prefix, y.Prefix) })
	return all, nil
}

// CheckRoutes says which static routes overlap with stored ones, which were there before the flag or the file was
// changed. To be asked once at the start. Errors: Invalid, Down.
func (a *Authority) CheckRoutes(ctx context.Context) error {
	stored, err := a.store.Policy(ctx)
	if err != nil {
		return err
	}
	var p credential.Problems
	for _, s := range a.static {
		for _, r := range stored.Routes {
			if overlap(s.Prefix, r.Prefix) {
				p.Add("route "+s.Prefix, "overlaps with the stored route %s: start without it and delete that one, or choose another prefix", r.Prefix)
			}
		}
	}
	return p.Err()
}

func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

func (a *Authority) allRoutes(ctx context.Context) ([]credential.Route, error) {
	p, err := a.store.Policy(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(a.static)
	for _, r := range p.Routes {
		r.Source = routeFromAPI
		all = append(all, r)
	}
	return all, nil
}

// PutRoute creates (Version 0; Exists if it is there) or updates (Version as read). Errors: Invalid, Exists, NotFound, Conflict; ReadOnly for static ones.
func (a *Authority) PutRoute(ctx context.Context, c Caller, r credential.Route) (credential.Route, error) {
	verb := "create"
	if r.Version != 0 {
		verb = "update"
	}
	if err := a.Authorize(c, "routes:"+verb, "/routes"+r.Prefix); err != nil {
		return r, err
	}
	r.Source = routeFromAPI
	// Under the lock no other node adds a route that overlaps with this one, so once is enough.
	err := a.store.Exclusive(ctx, "routes", func(ctx context.Context) error {
		var err error
		r, err = retry(1, func() (credential.Route, error) { return a.putRoute(ctx, c, r) })
		return err
	})
	return r, err
}

func (a *Authority) putRoute(ctx context.Context, c Caller, r credential.Route) (credential.Route, error) {
	all, err := a.allRoutes(ctx)
	if err != nil {
		return r, err
	}
	ch := a.begin(c)
	d := details{}
	typ := "route.create"
	at := slices.IndexFunc(all, func(x credential.Route) bool { return x.Prefix == r.Prefix })
	switch {
	case at >= 0 && all[at].Source != routeFromAPI:
		return r, staticRoute(&all[at])
	case at >= 0 && r.Version == 0:
		return r, credential.Errorf(credential.Exists, "there is a route %s already", quote(r.Prefix))
	case at < 0 && r.Version != 0:
		return r, notFound("route", r.Prefix)
	case at >= 0:
		old := all[at]
		if err := checkVersion("route", r.Version, old.Version); err != nil {
			return r, err
		}
		typ, r.CreatedAt = "route.update", old.CreatedAt
		d.set("upstream", old.Upstream, r.Upstream)
		d.set("query_key", yesNo(old.QueryKey), yesNo(r.QueryKey))
		if len(d) == 0 {
			return old, nil
		}
		all = slices.Delete(all, at, at+1)
	default:
		r.CreatedAt = ch.at
		d.put("upstream", r.Upstream)
		if r.QueryKey {
			d.put("query_key", yesNo(true))
		}
	}
	if err := CheckRoute(r, all); err != nil {
		return r, err
	}
	ch.do(credential.PutRoute{Route: r}, typ, aboutRoute(r.Prefix), d)
	if err := a.commit(ctx, ch); err != nil {
		return r, err
	}
	r.Version++
	return r, nil
}

// DeleteRoute removes a stored route. Conflict while it has a chain: what the chain refuses must not get in by
// another route of the same prefix.
func (a *Authority) DeleteRoute(ctx context.Context, c Caller, prefix string) error {
	hidden := notFound("route", prefix)
	if err := a.permit(c, "routes", "delete", strings.TrimPrefix(prefix, "/"), hidden); err != nil {
		return err
	}
	return a.exclusively(ctx, 0, func(ctx context.Context) error {
		all, err := a.allRoutes(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(x credential.Route) bool { return x.Prefix == prefix })
		if at < 0 {
			return hidden
		}
		if all[at].Source != routeFromAPI {
			return staticRoute(&all[at])
		}
		chains, err := a.chains(ctx, c.Org)
		if err != nil {
			return err
		}
		if chain := chainOf(chains, prefix); len(chain) > 0 {
			return credential.Errorf(credential.Conflict, "the route %s has a chain of %d authenticators: delete them first", prefix, len(chain))
		}
		ch := a.begin(c)
		op := credential.DeleteRoute{Prefix: prefix, Version: all[at].Version}
		ch.do(op, "route.delete", aboutRoute(prefix), details{"upstream": all[at].Upstream})
		return a.commit(ctx, ch)
	})
}

func staticRoute(r *credential.Route) error {
	return credential.Errorf(credential.ReadOnly, "the route %s was given by %s: change it there and restart", r.Prefix, r.Source)
}

// CheckRoute says what is wrong with a route beside the others: form, reserved prefix, overlap. All of it at once, as an error of kind Invalid.
func CheckRoute(r credential.Route, others []credential.Route) error {
	var p credential.Problems
	checkPrefix(&p, r.Prefix)
	if len(p) == 0 {
		for _, o := range others {
			if overlap(o.Prefix, r.Prefix) {
				p.Add("prefix", "overlaps with the route %s", o.Prefix)
			}
		}
	}
	checkUpstream(&p, r.Upstream)
	return p.Err()
}

func checkPrefix(p *credential.Problems, prefix string) {
	const most = 255
	switch {
	case prefix == "":
		p.Add("prefix", "is empty")
		return
	case len(prefix) > most:
		p.Add("prefix", "is longer than %d characters", most)
		return
	case prefix[0] != '/' || prefix[len(prefix)-1] != '/':
		p.Add("prefix", `must begin and end with "/"`)
		return
	case prefix == "/":
		p.Add("prefix", `is "/", which would take the paths of Cardea itself too`)
		return
	}
	if canonical, err := policy.CanonicalPath(prefix); err != nil {
		p.Add("prefix", "is not a canonical path: %v", err)
		return
	} else if canonical != prefix {
		p.Add("prefix", "is not a canonical path: write %s", canonical)
		return
	}
	checkText(p, "prefix", prefix, most)
	for _, own := range reservedPrefixes() {
		if overlap(prefix, own) {
			p.Add("prefix", "is reserved for Cardea itself: %s", strings.TrimSuffix(own, "/"))
		}
	}
}

func checkUpstream(p *credential.Problems, upstream string) {
	const form = "must be http://HOST[:PORT] or https://HOST[:PORT]"
	const most = 512
	u, err := url.Parse(upstream)
	switch {
	case upstream == "":
		p.Add("upstream", "is empty")
	case len(upstream) > most:
		p.Add("upstream", "is longer than %d characters", most)
	case err != nil:
		p.Add("upstream", "%s", form) // the text of the error would repeat a password
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		p.Add("upstream", "%s", form)
	case u.User != nil:
		p.Add("upstream", "contains user information: %s", form)
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(upstream, "#"):
		p.Add("upstream", "contains a path, a query or a fragment: %s", form)
	case !goodPort(u):
		p.Add("upstream", "has no good port: %s", form)
	default:
		checkText(p, "upstream", upstream, most)
	}
}

// goodPort: none, or a number from 1 to 65535 after the last colon.
func goodPort(u *url.URL) bool {
	if u.Host == u.Hostname() || u.Host == "["+u.Hostname()+"]" {
		return true
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func aboutRoute(prefix string) credential.Subject {
	return credential.Subject{Kind: "route", ID: prefix}
}
