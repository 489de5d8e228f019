// Package scram is the server's side of SCRAM-SHA-256 and SCRAM-SHA-512, with and without "-PLUS" (RFC 5802, 7677,
// 9266), and what a server keeps of a password. It does no I/O and looks at no clock.
//
//	hs, err := scram.Begin(h, plus, channel, data)       // client-first
//	keys := lookUp(hs.Username())
//	challenge, err := hs.Challenge(keys)                 // or hs.ChallengeUnknown(key, iterations)
//	…                                                    // the challenge goes out, client-final comes in
//	final, which, err := hs.Finish(data)                 // keys[which] is what the client has proven
//
// # What it does not tell
//
// A user that is not known gets a challenge like any other: its salt follows from a key of the house and the name, so
// it is the same after a restart and on every node, and Finish does the same work before it refuses. An error says
// what was wrong with a message, for the log; it holds nothing of the message, and the client gets none of it.
//
// # What it does not know
//
// That a credential was revoked or has expired between the two messages is for the caller to ask after Finish.
package scram
