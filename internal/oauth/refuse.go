package oauth

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"cardea/internal/credential"
	"cardea/internal/gate"
)

// refusal is an answer of RFC 6749 §5.2: always the same bytes for the same cause. It never repeats what was sent.
type refusal struct {
	status    int
	body      []byte
	challenge []string // WWW-Authenticate; nil for none
	wait      time.Duration
	nonce     string // DPoP-Nonce; "" for none
}

func refuse(status int, code, about string) *refusal {
	return &refusal{status: status, body: []byte(`{"error":"` + code + `","error_description":"` + about + `"}`)}
}

func challenged(r *refusal, challenges ...string) *refusal {
	r.challenge = challenges
	return r
}

func (r *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	header(h)
	if r.challenge != nil {
		h["Www-Authenticate"] = r.challenge
	}
	if r.wait > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64((r.wait+time.Second-1)/time.Second), 10)}
	}
	if r.nonce != "" {
		h["Dpop-Nonce"] = []string{r.nonce}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(r.body))}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body)
}

// after returns r with the time to wait.
func (r *refusal) after(wait time.Duration) *refusal {
	c := *r
	c.wait = max(wait, time.Second)
	return &c
}

const (
	basicChallenge  = `Basic realm="cardea", charset="UTF-8"`
	bearerChallenge = `Bearer realm="cardea"`
)

var (
	notFound  = refuse(404, "not_found", "there is no such path")
	badMethod = refuse(405, "invalid_request", "this endpoint takes POST alone")
	getOnly   = refuse(405, "invalid_request", "this is only to be read: GET")

	// Mistakes of form.
	badType   = refuse(400, "invalid_request", "the body must be application/x-www-form-urlencoded, without Content-Encoding")
	badQuery  = refuse(400, "invalid_request", "parameters belong into the body, not into the query string")
	badBody   = refuse(400, "invalid_request", "the body could not be read")
	tooLarge  = refuse(413, "invalid_request", "the body is longer than 65536 bytes")
	badForm   = refuse(400, "invalid_request", "the body is not well formed, or has too many parameters")
	repeated  = refuse(400, "invalid_request", "a parameter is there more than once")
	twoWays   = refuse(400, "invalid_request", "the client authenticates in more than one way: use one of Basic, client_secret and client_assertion")
	twoNames  = refuse(400, "invalid_request", "client_id is not the client that authenticates")
	badAssert = refuse(400, "invalid_request", "client_assertion and client_assertion_type urn:ietf:params:oauth:client-assertion-type:jwt-bearer belong together")
	noGrant   = refuse(400, "invalid_request", "grant_type is missing")
	badGrant  = refuse(400, "unsupported_grant_type", "grant_type must be client_credentials or urn:ietf:params:oauth:grant-type:token-exchange")
	noToken   = refuse(400, "invalid_request", "token is missing")

	// Who does not prove to be a client. The same for every cause (E02).
	badClient = challenged(refuse(401, "invalid_client", "client authentication is missing, or is not accepted"), basicChallenge)
	noCaller  = challenged(refuse(401, "invalid_client", "authenticate as a client, or by Authorization: Bearer"), basicChallenge, bearerChallenge)
	badCaller = challenged(refuse(401, "invalid_token", "the token in Authorization or X-API-Key is not accepted"), bearerChallenge+`, error="invalid_token"`)

	slowDown = refuse(429, "temporarily_unavailable", "too many attempts, or more requests than this credential may: see Retry-After")
	notNow   = refuse(503, "temporarily_unavailable", "it cannot be known now: see Retry-After")
	internal = refuse(500, "server_error", "internal error")

	// DPoP (RFC 9449 §5, §8).
	badProof  = refuse(400, "invalid_dpop_proof", "the DPoP proof is missing where it must be there, is there twice, or is not good for this request")
	needNonce = refuse(400, "use_dpop_nonce", "the DPoP proof must have the nonce of the header DPoP-Nonce")

	// What was asked for cannot be had.
	badScope     = refuse(400, "invalid_scope", "scope is malformed, unknown, or more than may be")
	noScope      = refuse(400, "invalid_scope", "there is no scope that the token could have: name an API whose scopes are among those of the credential")
	badTarget    = refuse(400, "invalid_target", "resource or audience is no API that is known here, or none that tokens may be made for")
	needCert     = refuse(400, "invalid_request", "tokens of this client are bound to a client certificate: connect with one")
	badActor     = refuse(400, "invalid_request", "whoever acts is not accepted, or may not act for the subject")
	badSubject   = refuse(400, "invalid_request", "subject_token is not accepted, or is nothing that access tokens are made for")
	noSubject    = refuse(400, "invalid_request", "subject_token and subject_token_type are both needed")
	badType8693  = refuse(400, "invalid_request", "subject_token_type must be urn:ietf:params:oauth:token-type:access_token, urn:ietf:params:oauth:token-type:jwt or urn:cardea:token-type:certificate, and be that of the token")
	badActorType = refuse(400, "invalid_request", "actor_token and actor_token_type belong together, and the type must be urn:ietf:params:oauth:token-type:access_token or urn:ietf:params:oauth:token-type:jwt")
	badRequested = refuse(400, "invalid_request", "requested_token_type must be urn:ietf:params:oauth:token-type:access_token or urn:ietf:params:oauth:token-type:jwt")

	// Revocation (RFC 7009 §2.2.1).
	notYours  = refuse(400, "unauthorized_client", "the token is somebody else's")
	cannotEnd = refuse(400, "unsupported_token_type", "this is nothing that is revoked here")
)

// byClass are the tables from what a caller may learn of the gate's reason to an answer: for clients, for whoever asks with a token, for
// the subject and for the actor of an exchange.
type byClass [credential.CannotKnow + 1]*refusal

func table(invalid *refusal) *byClass {
	return &byClass{
		credential.InvalidRequest: invalid, credential.InvalidToken: invalid, credential.Forbidden: invalid,
		credential.SlowDown: slowDown, credential.CannotKnow: notNow,
	}
}

var (
	forClient  = table(badClient)
	forCaller  = table(badCaller)
	forSubject = table(badSubject)
	forActor   = table(badActor)
)

// of returns the answer to an outcome of the gate.
func (t *byClass) of(out gate.Outcome) *refusal {
	r := t[out.Reason.Class()]
	if r == slowDown || r == notNow {
		return r.after(out.RetryAfter)
	}
	return r
}

// dpopRefusal answers a proof that is not good.
func (x *exchange) dpopRefusal(why credential.Reason) *refusal {
	var r refusal
	switch why {
	case credential.Unavailable:
		return notNow.after(time.Second)
	case credential.NonceNeeded:
		r = *needNonce
	default:
		r = *badProof
	}
	r.nonce = x.Gate.Nonce()
	return &r
}

// byField are the answers to what the gate says is wrong with a token that is asked for.
var byField = map[string]*refusal{
	"scope": badScope, "resource": badTarget, "actor_token": badActor, "subject_token": badSubject, "cnf": badProof,
}

// refuseToken answers an error of [gate.Gate.Mint].
func (x *exchange) refuseToken(err error, wanted *gate.Wanted) *refusal {
	var e *credential.Error
	if !errors.As(err, &e) || e.Kind != credential.Invalid && e.Kind != credential.Down || e.Kind == credential.Invalid && len(e.Fields) == 0 {
		x.Log.Error("an access token could not be made", "error", err)
		return internal
	}
	if e.Kind == credential.Down {
		x.Log.Warn("no access token can be made", "error", err)
		return notNow.after(time.Second)
	}
	field := e.Fields[0].Field
	switch {
	case field == "scope" && len(wanted.Scopes) == 0:
		return noScope
	case field == "cnf" && wanted.Client != nil && wanted.Client.Config.Bound == credential.BoundToTLS:
		return needCert
	case field == "subject_token" && x.form.get("grant_type") == clientCredentials: // it was revoked a moment ago
		return badClient
	}
	if r := byField[field]; r != nil {
		return r
	}
	return internal
}
