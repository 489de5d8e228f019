package view

// Problem is how the API refuses: RFC 9457, application/problem+json.
type Problem struct {
	Type   string         `json:"type,omitempty" example:"https://iana.org/assignments/http-problem-types#quota-exceeded" doc:"Absent: nothing but what the status says"`
	Title  string         `json:"title" example:"Unprocessable Entity"`
	Status int            `json:"status" example:"422"`
	Detail string         `json:"detail,omitempty" example:"validation failed" doc:"What was wrong and what to do"`
	Errors []FieldProblem `json:"errors,omitempty" nullable:"false" doc:"Everything that is wrong with the request, at once"`
	// Violated is that of draft-ietf-httpapi-ratelimit-headers-10, section 5.1.
	Violated []string `json:"violated-policies,omitempty" nullable:"false" example:"[\"second\"]" doc:"With 429: which limits of the credential have refused, by the names of RateLimit-Policy"`
	Force    bool     `json:"force,omitempty" doc:"The same request with force is done"`
}

// FieldProblem is one thing that is wrong with a request.
type FieldProblem struct {
	Location string `json:"location" example:"body.scopes[1]"`
	Message  string `json:"message" example:"does not exist: telemetry:wrte"`
}
