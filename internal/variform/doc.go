// Package variform is Variform, EMQX's language of expressions that make one
// text out of variables:
//
//	concat([client_attrs.site, '/', lower(username)])
//
// An expression is compiled once and rendered often, by many at a time:
//
//	e, err := variform.Compile(`str_eq(username, 'pump-1')`)
//	text, err := e.Render(variform.Map{"username": "pump-1"}) // "true"
//
// There are no loops and no assignments, so an expression ends; how much it may
// cost on the way is bounded for the sake of those who choose the values, such as
// a client its user name: see limits.go. Whatever goes wrong, at compiling or at
// rendering, is an [*Error] with a stable code. It names places, functions and variables, and
// never holds the value of one.
//
// docs/variform.md describes the language. Its examples are tests of this package.
package variform
