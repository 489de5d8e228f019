package main

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/spf13/cobra"
)

// issuerFlags say whose JWTs an authenticator takes. What they say goes over what a file says.
type issuerFlags struct {
	issuer, jwks, jwksURI, principal, scopeClaim string
	audiences, types, algs, required, attrs      []string
	scopes                                       []string
	guests                                       bool
}

func (i *issuerFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&i.issuer, "issuer", "", "jwt: `URL` that is iss of the tokens (default: Cardea's own access tokens)")
	f.StringVar(&i.jwks, "jwks", "", "jwt: `FILE` with the JWK set of the issuer's public keys")
	f.StringVar(&i.jwksURI, "jwks-uri", "", "jwt: https `URL` of such a set")
	f.StringArrayVar(&i.audiences, "audience", nil, "jwt: `TEXT` that must be in aud (repeatable: one of them)")
	f.StringArrayVar(&i.types, "typ", nil, "jwt: `TEXT` that typ may be, '' for none (repeatable; default: at+jwt)")
	f.StringArrayVar(&i.algs, "alg", nil, "jwt: `NAME` of an algorithm that is taken (repeatable; default: all that are known)")
	f.StringVar(&i.principal, "principal-claim", "", "jwt: `PATH` of the claim that names who it is (default: sub)")
	f.BoolVar(&i.guests, "guests", false, "jwt: whoever the issuer names is let in, with the scopes of the authenticator")
	f.StringVar(&i.scopeClaim, "scope-claim", "", "jwt: `PATH` of the claim that names scopes, which narrow")
	f.StringArrayVar(&i.required, "require", nil, "jwt: `CLAIM=VALUE` that a token must have (repeatable)")
	f.StringArrayVar(&i.attrs, "attr", nil, "jwt, guests: `NAME=CLAIM` of an attribute (repeatable)")
	f.StringArrayVar(&i.scopes, "scope", nil, "jwt, scram_rest, http: `NAME` of a scope that guests get (repeatable)")
	c.MarkFlagsMutuallyExclusive("jwks", "jwks-uri")
}

// into puts what was said into the body of a request.
func (i *issuerFlags) into(a *app, said func(string) bool, body map[string]any) error {
	if said("scope") {
		body["scopes"] = i.scopes
	}
	required, err := pairs("--require", i.required)
	if err != nil {
		return err
	}
	attrs, err := pairs("--attr", i.attrs)
	if err != nil {
		return err
	}
	issuer := map[string]any{}
	for flag, field := range map[string]struct {
		name  string
		value any
	}{
		"issuer": {"issuer", i.issuer}, "jwks-uri": {"jwks_uri", i.jwksURI}, "audience": {"audiences", i.audiences}, "typ": {"types", i.types}, "alg": {"algorithms", i.algs},
		"principal-claim": {"principal", i.principal}, "guests": {"guests", i.guests}, "scope-claim": {"scope_claim", i.scopeClaim}, "require": {"required", required},
		"attr": {"attrs", attrs},
	} {
		if said(flag) {
			issuer[field.name] = field.value
		}
	}
	if said("jwks") {
		raw, err := a.readFile(i.jwks)
		if err != nil {
			return fmt.Errorf("--jwks: %w", err)
		}
		if !json.Valid(raw) {
			return fmt.Errorf("--jwks: %s holds no JSON: a JWK set is {\"keys\":[…]}", i.jwks)
		}
		issuer["jwks"] = json.RawMessage(raw)
	}
	if len(issuer) == 0 {
		return nil
	}
	if of, ok := body["issuer"].(map[string]any); ok {
		maps.Copy(of, issuer)
		issuer = of
	}
	for _, needed := range []struct {
		name  string
		value any
	}{{"issuer", ""}, {"audiences", []string{}}} { // the server says what is missing, with all else
		if issuer[needed.name] == nil {
			issuer[needed.name] = needed.value
		}
	}
	body["issuer"] = issuer
	return nil
}
