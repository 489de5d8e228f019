// Package gate is the only decider: it answers who somebody is and what they
// may do, and it watches what lives long.
//
//	id, out := g.Authenticate(ctx, &gate.Evidence{Token: text, Source: addr, Door: "http"})
//	if out.Reason != credential.OK {
//		return refuse(out)
//	}
//	if d := g.Authorize(id, &policy.Access{Proto: policy.HTTP, Verb: "GET", Resource: path, Source: addr}); !d.Allowed() {
//		return refuse(d.Reason)
//	}
//	w, reason := g.Watch(ctx, id, gate.Live{Kind: "stream", Cut: conn.Close})
//
// # What it keeps
//
// The gate keeps records of credentials, compiled into immutable entries, in
// a table that is read without locks. It keeps who somebody is, never that
// they may: expiry, state, networks and rules are looked at anew each time.
// The table has a budget in bytes; what is not in it is one look-up in the
// store away, made once for all who wait for it.
//
// # Why a revocation holds
//
// An entry is either in the table or dead; whoever holds a dead one asks
// again. [Gate.Apply] takes the touched entries out, and tells the look-ups
// that are under way that an answer of an older revision is worth nothing. A
// session registers first and looks whether its entry is dead after, while
// Apply kills the entry first and looks for sessions after: one of the two
// sees the other. So when Apply has returned, nothing is accepted on what was
// known before, and sessions that may not go on were cut.
//
// # When it cannot know
//
// A node that has not seen the change feed for longer than the staleness
// bound answers [credential.Unavailable] to everything: to authentication, to
// authorization also of sessions that live, and to new sessions. Live ones are
// not cut for it; they end at their own deadlines. Errors of the store are
// answered in the same way and are never kept.
package gate
