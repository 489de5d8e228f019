package policy

import "cardea/internal/credential"

// Set is compiled rules. It is immutable.
type Set struct{}

// Compile compiles the rules of scopes. Rules that [Check] would refuse are an error.
func Compile(scopes []credential.Scope) (*Set, error) { panic("not yet") }

// Decide says whether some allow matches and no deny does. It does not
// allocate. A nil set allows nothing.
func (s *Set) Decide(a *Access) Decision { panic("not yet") }

// Explain returns every rule of both sides and what became of it.
func (r Rights) Explain(a *Access) []Look { panic("not yet") }

// Covers returns the rules, by index, that go beyond r: whoever has r may not grant them (J26).
func (r Rights) Covers(rules []credential.Rule) []int { panic("not yet") }

// Check adds to p what is wrong with rules; field is their name in the request, "rules" say.
func Check(field string, rules []credential.Rule, p *credential.Problems) { panic("not yet") }
