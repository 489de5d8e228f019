package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/policy"
	"cardea/internal/view"
)

// tokenPrefix is what every token begins with.
const tokenPrefix = "cardea_"

// doorEMQX is how a cluster is called where refusals and uses are counted.
const doorEMQX = "emqx"

// emqxAuthn answers who may connect with a user name and a password: the token is in the user name, without a
// password, or in the password. A question without one is left to the cluster's next authenticator.
func (s *server) emqxAuthn(r *http.Request, c *caller, f form) (any, *problem) {
	token, name := f["password"], f["username"]
	switch {
	case token == "":
		token, name = name, ""
	case strings.HasPrefix(name, tokenPrefix):
		return deny(""), nil // two tokens, or one in front of something else
	}
	if !strings.HasPrefix(token, tokenPrefix) {
		return view.EMQXVerdict{Result: "ignore"}, nil
	}
	source, ok := f.source()
	if !ok {
		return deny(badPeerHost), nil
	}
	id, out := s.api.Gate.Authenticate(r.Context(), &gate.Evidence{Token: token, Source: source, Door: doorEMQX, Route: doorEMQX, Client: f["clientid"]})
	if out.Reason.Class() == credential.CannotKnow {
		return nil, refusal(out.Reason, out.RetryAfter)
	}
	if out.Reason != credential.OK || id.Org != c.Org || !isName(id, name, f) {
		return deny(""), nil
	}
	switch fine, p := s.mayHave(r, id, f["clientid"]); {
	case p != nil:
		return nil, p
	case !fine:
		return deny(""), nil
	}
	return view.EMQXVerdict{Result: "allow", Superuser: new(false), EMQXIdentity: identityFor(id)}, nil
}

// isName reports whether the user name beside a token in the password is one by which the sessions of the identity are
// found again when it ends: the principal's name, or, for a device, its client id.
func isName(id *gate.Identity, name string, f form) bool {
	switch {
	case f["password"] == "": // the token is the user name
		return true
	case id.PrincipalKind == credential.Device:
		return name == "" || name == id.Principal || name == f["clientid"]
	}
	return name == id.Principal
}

// emqxAuthz answers whether a client of the cluster may publish or subscribe, by the rules as of now.
func (s *server) emqxAuthz(r *http.Request, c *caller, f form) (any, *problem) {
	asked, why := f.accesses()
	if why != "" {
		return deny(why), nil
	}
	for i := range asked {
		d, wait := s.judgeEMQX(r.Context(), c.Org, f, &asked[i])
		if d.Class() == credential.CannotKnow {
			return nil, refusal(d, wait)
		}
		if d != credential.OK {
			return deny(""), nil
		}
	}
	return view.EMQXVerdict{Result: "allow"}, nil
}

// judgeEMQX judges one access, by the credential that an answer to authn has named, or by a token that is the user name.
func (s *server) judgeEMQX(ctx context.Context, org string, f form, a *policy.Access) (credential.Reason, time.Duration) {
	g := s.api.Gate
	if credentialID := f["credential"]; credentialID != "" {
		id, out := g.Standing(ctx, org, credentialID, a.Source)
		if out.Reason != credential.OK {
			return out.Reason, out.RetryAfter
		}
		return g.Authorize(id, a).Reason, 0
	}
	if token := f["username"]; strings.HasPrefix(token, tokenPrefix) {
		v := g.Verify(ctx, org, &gate.Evidence{Token: token, Source: a.Source, Door: doorEMQX}, a, false)
		if v.Allowed {
			g.Exercised(v.Identity, v.Scope)
		}
		return v.Reason, 0
	}
	return credential.NoCredential, 0
}

// accesses are what a question is about: more than one if it leaves out something that matters. All must be allowed.
func (f form) accesses() (all []policy.Access, why string) {
	a := policy.Access{Proto: policy.MQTT, Verb: f["action"], Resource: f["topic"], ClientID: f["clientid"]}
	if a.Verb != "publish" && a.Verb != "subscribe" {
		return nil, "action must be publish or subscribe"
	}
	parsed, err := policy.ParseAccess("mqtt:"+a.Verb, a.Resource)
	if err != nil {
		return nil, "topic is none for this action"
	}
	a.Resource = parsed.Resource
	var ok bool
	if a.Source, ok = f.source(); !ok {
		return nil, badPeerHost
	}
	qos, retain := []byte{0, 1, 2}, []bool{false, true}
	switch f["qos"] {
	case "":
	case "0", "1", "2":
		qos = []byte{f["qos"][0] - '0'}
	default:
		return nil, "qos must be 0, 1 or 2"
	}
	switch f["retain"] {
	case "":
	case "true", "1":
		retain = []bool{true}
	case "false", "0":
		retain = []bool{false}
	default:
		return nil, "retain must be true or false"
	}
	if a.Verb == "subscribe" {
		retain = []bool{false} // it is of messages
	}
	for _, a.QoS = range qos {
		for _, a.Retain = range retain {
			all = append(all, a)
		}
	}
	return all, ""
}

// emqxScram answers with the keys of a SCRAM user, for EMQX to hold the handshake by itself. Everything but an
// answer with keys is "not found": EMQX then asks its next authenticator.
func (s *server) emqxScram(r *http.Request, c *caller, f form) (any, *problem) {
	unknown := newProblem(http.StatusNotFound, "there is no such user for this authenticator")
	algorithm := f["algorithm"]
	if algorithm == "" {
		algorithm = credential.SHA256
	}
	iterations, ok := f.number("iteration_count", credential.MinIterations)
	if !ok {
		return nil, badField(http.StatusBadRequest, "body.iteration_count", "is not a number")
	}
	source, ok := f.source()
	if !ok {
		return nil, badField(http.StatusBadRequest, "body.peerhost", "is not an address such as 10.1.2.3")
	}
	keys, id, reason := s.api.Gate.ScramKeys(r.Context(), c.Org, f["username"], algorithm, source)
	if reason.Class() == credential.CannotKnow {
		return nil, refusal(reason, 0)
	}
	if reason != credential.OK || id == nil || keys.Iterations != iterations {
		return nil, unknown
	}
	if clientID, told := f["clientid"]; told {
		switch fine, p := s.mayHave(r, id, clientID); {
		case p != nil:
			return nil, p
		case !fine:
			return nil, unknown
		}
	}
	return view.EMQXScramKeys{
		StoredKey: view.Secret(hex.EncodeToString(keys.StoredKey)), ServerKey: view.Secret(hex.EncodeToString(keys.ServerKey)),
		Salt: hex.EncodeToString(keys.Salt), EMQXIdentity: identityFor(id),
	}, nil
}
