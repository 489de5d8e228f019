// Package outbound is all that Cardea calls. It has one HTTP client that is guarded, and on it the REST services that
// authenticators ask, the keys of other issuers ([Client.KeySet]), and notices: [Client.Webhook] and [Mailer].
//
// What is called is chosen by administrators, what is sent by clients that nobody knows yet, and what is
// answered by services that may be broken. So:
//
//   - No connection is made to an address that only this machine or its cloud could reach: see [Config]. It
//     is looked at when an authenticator is saved, and again when the name has been resolved. Redirects are not followed,
//     and no proxy is taken from the environment.
//   - A value can become nothing but a value: not a header, not another path, not a member of the body. A login
//     whose values cannot be sent is one that the service does not know.
//   - An answer is bounded in bytes and time, and is never a yes because something was missing.
//
// A source keeps a pool of connections to its service. With HTTP/1.1 requests are pipelined: several may
// be on a connection before the first answer. What a connection left unanswered when it broke is asked
// again on another, which is safe, because these requests only read.
//
//	client := outbound.New(outbound.Config{})
//	var p credential.Problems
//	client.Check(credential.ByScramREST, &backend, &p)
//	…
//	source, err := client.Open(credential.ByScramREST, &backend)
//	answer := source.Ask(ctx, &login)
package outbound
