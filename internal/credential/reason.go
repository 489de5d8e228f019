package credential

// Reason says why the gate accepted or refused. It is exact: doors show the
// caller only what [Reason.Class] leaves of it (E02); the audit log and
// explain show all of it.
type Reason uint8

// The reasons, in the order in which the gate looks.
const (
	OK                 Reason = iota
	NoCredential              // nothing was presented
	AmbiguousEvidence         // two different credentials were presented
	MalformedToken            // not the form of a token, or a wrong checksum: nothing was looked up
	TooManyAttempts           // too many wrong secrets from this source for this credential
	Unavailable               // the gate cannot know: the store does not answer or the node is stale
	UnknownCredential         // no credential has this id
	WrongSecret               // the id exists, the secret or the fingerprint is another
	NotYetValid               // before its not-before
	Expired                   // the credential, or this version of it, has ended by time
	Revoked                   // ended by somebody, or by the end of its principal
	PrincipalDisabled         // its principal is disabled
	NetworkRefused            // the source is not in its allowed networks
	Unbound                   // token and certificate belong to different principals
	NoRule                    // no rule allows it
	DeniedByRule              // a rule denies it
	Kicked                    // a live session was ended by an administrator
	Draining                  // the server is stopping
	BadExchange               // a step of SCRAM that has not the form, the nonce or the binding that is due
	UnknownUser               // nobody in the chain knows the user
	SourceFailed              // a REST service did not answer as it must, and its authenticator denies then
	SourceDenied              // a REST service refuses the client
	PreconditionFailed        // the precondition of an authenticator could not be worked out
	NoAuthenticator           // the chain has nobody who looks at what was shown
	OutsideResources          // allowed by the rules, but not among the resources that credential, project or organisation are held to
	PendingApproval           // made, but nobody has approved it yet
	ParentEnded               // a session whose key, or whose password, is not accepted any more
	RateLimited               // more requests a second than the credential may
	QuotaSpent                // more requests this month than the credential may
	OrgDisabled               // its organisation is disabled
	BadSignature              // a JWT, an assertion or a proof that was not signed by whom it names
	WrongClaims               // a JWT that is for somebody else, of another type, without an end, or not to be read
	TokenDenied               // an access token that was revoked
	ProofMissing              // a token that is bound to a key, shown without it
	BadProof                  // a proof of possession (DPoP) that is not good
	NonceNeeded               // a proof of possession without a nonce of ours that is still good
	Replayed                  // an assertion or a proof that was used before
)

var reasonNames = [...]string{
	"ok", "no_credential", "ambiguous_evidence", "malformed_token", "too_many_attempts", "unavailable",
	"unknown_credential", "wrong_secret", "not_yet_valid", "expired", "revoked", "principal_disabled",
	"network_refused", "unbound", "no_rule", "denied_by_rule", "kicked", "draining",
	"bad_exchange", "unknown_user", "source_failed", "source_denied", "precondition_failed", "no_authenticator",
	"outside_resources", "pending_approval", "parent_ended", "rate_limited", "quota_spent", "org_disabled",
	"bad_signature", "wrong_claims", "token_denied", "proof_missing", "bad_proof", "nonce_needed", "replayed",
}

// Reasons is the number of reasons.
const Reasons = int(Replayed) + 1

// String returns the stable name of r, as the API and the audit log show it.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown_reason"
}

// Class is what a caller may learn of a reason.
type Class uint8

// The classes. Each door has one table from them to its protocol's answers.
const (
	Accepted       Class = iota
	InvalidRequest       // a mistake of form
	InvalidToken         // not who they say, for whatever cause
	Forbidden            // who they say, but not allowed
	SlowDown             // too many attempts
	CannotKnow           // try again later
)

// Class returns what a caller may learn of r.
func (r Reason) Class() Class {
	switch r {
	case OK:
		return Accepted
	case AmbiguousEvidence:
		return InvalidRequest
	case NoRule, DeniedByRule, OutsideResources:
		return Forbidden
	case TooManyAttempts, RateLimited, QuotaSpent:
		return SlowDown
	case Unavailable, Draining:
		return CannotKnow
	default:
		return InvalidToken
	}
}
