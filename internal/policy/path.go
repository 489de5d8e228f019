package policy

// CanonicalPath returns the decoded path of a request if the escaped one can be
// read in one way only, and otherwise an error that says what is wrong with it (H05).
func CanonicalPath(escaped string) (string, error) { panic("not yet") }
