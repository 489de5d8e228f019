package view

import "fmt"

// LeakReport tells of tokens that were found in public.
type LeakReport struct {
	Reporter string `json:"reporter,omitempty" example:"secret-scanner" doc:"Who has found them"`
	Leaks    []Leak `json:"leaks" nullable:"false" minItems:"1" maxItems:"100"`
}

// Leak is one of them. Type and source, which GitHub's secret scanning sends, are taken and not looked at.
type Leak struct {
	Token  Secret `json:"token" minLength:"1" maxLength:"1024"`
	URL    string `json:"url,omitempty" example:"https://example.com/public/config.txt" doc:"Where it was found"`
	Type   string `json:"type,omitempty" maxLength:"128"`
	Source string `json:"source,omitempty" maxLength:"128"`
}

// LeaksReceived is the answer, which is the same whatever the tokens are.
type LeaksReceived struct {
	Received int `json:"received" example:"1"`
}

// Item names an entry of a list in a request.
func Item(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }
