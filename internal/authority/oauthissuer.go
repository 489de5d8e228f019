package authority

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"cardea/internal/audit"
	"cardea/internal/credential"
	"cardea/internal/jwt"
)

// Bounds of an issuer that an authenticator trusts.
const (
	maxIssuerLen  = 512
	maxClaimPath  = 256
	maxClaimParts = 8
	maxRequired   = 32
	maxTypes      = 16
	subjectClaim  = "sub" // names the principal unless another is given
)

// trusted checks whose JWTs an authenticator shall take, and returns it in the form that is stored; nil for Cardea's own access tokens.
func (b *book) trusted(p *credential.Problems, n *NewAuthenticator) *credential.TrustedIssuer {
	i := ownIssuer(n.Issuer)
	if i == nil || reflect.DeepEqual(i, &credential.TrustedIssuer{}) {
		if len(n.Scopes) > 0 {
			p.Add("scopes", "is not for Cardea's own access tokens, which have their own: name an issuer")
		}
		return nil
	}
	checkIss(p, i.Issuer, b.issuer)
	switch {
	case len(i.JWKS) > 0 && i.JWKSURI != "":
		p.Add("issuer.jwks_uri", "is given together with jwks: give one of them")
	case i.JWKSURI != "":
		b.checkKeySetURL(p, "issuer.jwks_uri", i.JWKSURI)
	case len(i.JWKS) == 0:
		p.Add("issuer.jwks_uri", "is missing, and so is jwks: the public keys of the issuer are needed")
	default:
		checkKeySet(p, "issuer.", i.JWKS, false)
	}
	checkClaimValues(p, i)
	if i.Principal == "" {
		i.Principal = subjectClaim
	}
	checkClaimPath(p, "issuer.principal", i.Principal)
	if i.ScopeClaim != "" {
		checkClaimPath(p, "issuer.scope_claim", i.ScopeClaim)
	}
	checkAttrClaims(p, i)
	checkRequired(p, i.Required)
	return i
}

func checkIss(p *credential.Problems, iss, own string) {
	switch {
	case iss == "":
		p.Add("issuer.issuer", "is empty: give the iss of the tokens; for Cardea's own leave out all of it")
	case iss == own:
		p.Add("issuer.issuer", "is Cardea itself: leave out all of it to take Cardea's own access tokens")
	default:
		checkText(p, "issuer.issuer", iss, maxIssuerLen)
	}
}

// checkClaimValues: for whom tokens must be, of what type, and signed by what.
func checkClaimValues(p *credential.Problems, i *credential.TrustedIssuer) {
	switch {
	case len(i.Audiences) == 0:
		p.Add("issuer.audiences", "is empty: say for whom the tokens must be, or those that were made for others would be taken")
	case len(i.Audiences) > maxAudiences:
		p.Add("issuer.audiences", "has more than %d entries", maxAudiences)
	default:
		for k, aud := range i.Audiences {
			if aud == "" {
				p.Add(item("issuer.audiences", k), "is empty")
			}
			checkText(p, item("issuer.audiences", k), aud, maxAudienceLen)
		}
		checkRepeats(p, "issuer.audiences", i.Audiences)
	}
	if len(i.Types) > maxTypes {
		p.Add("issuer.types", "has more than %d entries", maxTypes)
	} else {
		for k, typ := range i.Types {
			checkText(p, item("issuer.types", k), typ, maxClaimPath)
		}
		checkRepeats(p, "issuer.types", i.Types)
	}
	for k, alg := range i.Algorithms {
		if !slices.Contains(jwt.Algs(), alg) {
			p.Add(item("issuer.algorithms", k), "is none of %s", strings.Join(jwt.Algs(), ", "))
		}
	}
	checkRepeats(p, "issuer.algorithms", i.Algorithms)
}

// checkClaimPath is for the way to a claim: "sub", "client.name".
func checkClaimPath(p *credential.Problems, field, path string) {
	parts := strings.Split(path, ".")
	switch {
	case path == "":
		p.Add(field, "is empty")
	case len(parts) > maxClaimParts && !strings.Contains(path, "://"):
		p.Add(field, "has more than %d parts", maxClaimParts)
	case slices.Contains(parts, "") && !strings.Contains(path, "://"):
		p.Add(field, "has an empty part: it is the names of claims with dots between them")
	default:
		checkText(p, field, path, maxClaimPath)
	}
}

// checkAttrClaims: only guests get attributes from their tokens; principals have their own.
func checkAttrClaims(p *credential.Problems, i *credential.TrustedIssuer) {
	switch {
	case len(i.Attrs) == 0:
		return
	case !i.Guests:
		p.Add("issuer.attrs", "is for guests only: principals have attributes of their own")
		return
	case len(i.Attrs) > maxAttrs:
		p.Add("issuer.attrs", "has more than %d entries", maxAttrs)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(i.Attrs)) {
		if why := credential.CheckName(name); why != "" || audit.LooksSecret(name) {
			p.Add("issuer.attrs", "has a name that cannot be one of an attribute: %s", quote(name))
			continue
		}
		checkClaimPath(p, "issuer.attrs."+name, i.Attrs[name])
	}
}

func checkRequired(p *credential.Problems, required map[string]string) {
	if len(required) > maxRequired {
		p.Add("issuer.required", "has more than %d entries", maxRequired)
		return
	}
	for _, path := range slices.Sorted(maps.Keys(required)) {
		had := len(*p)
		if checkClaimPath(p, "issuer.required", path); len(*p) == had {
			checkText(p, "issuer.required."+path, required[path], maxAttrLen)
		}
	}
}

// ownIssuer is one that shares nothing with what it came from, in the form that is stored.
func ownIssuer(i *credential.TrustedIssuer) *credential.TrustedIssuer {
	if i == nil {
		return nil
	}
	own := *i
	own.JWKS = slices.Clone(sameJSON(i.JWKS))
	own.Audiences, own.Types, own.Algorithms = ownList(i.Audiences), ownList(i.Types), ownList(i.Algorithms)
	own.Attrs, own.Required = ownMap(i.Attrs), ownMap(i.Required)
	return &own
}

// ownList and ownMap are nil where there is nothing, as what comes from the store is.
func ownList(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}

func ownMap(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

// issOf is whose tokens an authenticator takes; "" for Cardea's own.
func issOf(i *credential.TrustedIssuer) string {
	if i == nil {
		return ""
	}
	return i.Issuer
}

// sameTrust refuses a second authenticator of a chain for the JWTs of one issuer: the first has judged them before the second is asked.
func sameTrust(chain []credential.Authenticator, id, listener string, i *credential.TrustedIssuer) error {
	for _, x := range chain {
		if x.Type != credential.ByJWT || x.ID == id || issOf(x.Issuer) != issOf(i) {
			continue
		}
		if i == nil {
			return credential.Errorf(credential.Exists, "the chain of %s has an authenticator for Cardea's own access tokens already", listener)
		}
		return credential.Errorf(credential.Exists, "the chain of %s has an authenticator for the tokens of %s already: change that one", listener, printable(i.Issuer))
	}
	return nil
}

// mayTrustIssuer refuses unless c may all that somebody can who has a token of the issuer: the scopes or, where it may name any principal and no scope
// narrows that, whatever the door is there for (J26).
func mayTrustIssuer(c Caller, b *book, n *NewAuthenticator) error {
	if n.Issuer == nil {
		return nil // Cardea's own tokens are no more than what they were made for
	}
	if err := mayGrant(c, "the authenticator", granted(nil, b.ofScopes(n.Scopes))); err != nil || n.Issuer.Guests || len(n.Scopes) > 0 {
		return err
	}
	return mayGrant(c, "what a principal may that the issuer names", []credential.Rule{everythingOf(n.Listener)})
}

// everythingOf is all that can be done at the door whose chain it is.
func everythingOf(listener string) credential.Rule {
	switch {
	case strings.HasPrefix(listener, "/"):
		return allow("http:*", listener+"**")
	case listener == credential.ListenerGRPC:
		return allow("grpc:call", "*")
	}
	return allow("mqtt:*", "*")
}

// issuerDetails is an issuer for an event, field by field. Keys are told by their thumbprints.
func issuerDetails(d map[string]string, i *credential.TrustedIssuer) {
	if i == nil {
		return
	}
	d["issuer"], d["jwks"] = printable(i.Issuer), listed(keyNamesOf(i.JWKS))
	if i.JWKSURI != "" {
		d["jwks_uri"] = withoutQuery(i.JWKSURI)
	}
	d["audiences"], d["types"], d["algorithms"] = listed(i.Audiences), listed(i.Types), names(i.Algorithms)
	d["principal"], d["guests"], d["scope_claim"] = printable(i.Principal), yesNo(i.Guests), printable(i.ScopeClaim)
	d["attrs"], d["required"] = listed(strings.Fields(pairs(i.Attrs))), listed(slices.Sorted(maps.Keys(i.Required)))
}
