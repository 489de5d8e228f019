// Package credential is the core of Cardea: the words of the house as types,
// the reason codes, the one error type, and the ports that other packages
// implement. It does nothing by itself and imports the standard library only.
//
// A [Principal] is who a [Credential] speaks for. What it may do is written as
// [Rule]s, which are named by [Scope]s, which are named by [Role]s. A principal
// may what the scopes of its roles allow; a credential may what its own scopes
// allow, or all of its principal's if it names none; a request passes if both
// allow it.
//
// Whoever changes anything builds a [Change] and gives it to [Store.Commit]:
//
//	done, err := store.Commit(ctx, credential.Change{
//		Ops:    []credential.Op{credential.EndCredential{ID: id, State: credential.StateRevoked, At: now}},
//		Events: []credential.Event{{Type: "credential.revoke", Subject: credential.Subject{Kind: "credential", ID: id}}},
//	})
//
// The operations, the events and the next revision land in one transaction or
// not at all. A revision is the sequence number of an event: the audit log is
// the change feed.
package credential
