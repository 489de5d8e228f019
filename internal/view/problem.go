package view

// Problem is how the API refuses: RFC 9457, application/problem+json.
type Problem struct {
	Title  string         `json:"title" example:"Unprocessable Entity"`
	Status int            `json:"status" example:"422"`
	Detail string         `json:"detail,omitempty" example:"validation failed" doc:"What was wrong and what to do"`
	Errors []FieldProblem `json:"errors,omitempty" nullable:"false" doc:"Everything that is wrong with the request, at once"`
	Force  bool           `json:"force,omitempty" doc:"The same request with force is done"`
}

// FieldProblem is one thing that is wrong with a request.
type FieldProblem struct {
	Location string `json:"location" example:"body.scopes[1]"`
	Message  string `json:"message" example:"does not exist: telemetry:wrte"`
}
