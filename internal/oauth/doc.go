// Package oauth is the OAuth 2 face of Cardea, for machines: the token endpoint (client credentials, RFC 6749; token exchange,
// RFC 8693), introspection (RFC 7662), revocation (RFC 7009) and the metadata (RFC 8414). It parses and answers; who
// somebody is, and what a token may be, the gate says.
//
//	request → form (each parameter once) → client or caller → gate.Mint / gate.Inspect / authority → answer
//
// Tokens are not stored. What is asked for each of them is therefore the work of net/http, one signature and little else,
// which is why nothing here goes through the machinery of the API.
//
//	s := oauth.New(oauth.Config{Gate: g, Authority: a, ClientAddr: door.Source, …})
//	mux.Handle("/oauth2/", s)
package oauth
