package scram

// Code is why a login failed, by the words of RFC 5802, 7.
type Code string

// The codes.
const (
	InvalidEncoding               Code = "invalid-encoding"
	ExtensionsNotSupported        Code = "extensions-not-supported"
	InvalidProof                  Code = "invalid-proof"
	ChannelBindingsDontMatch      Code = "channel-bindings-dont-match"
	ServerDoesSupportBinding      Code = "server-does-support-channel-binding"
	ChannelBindingNotSupported    Code = "channel-binding-not-supported"
	UnsupportedChannelBindingType Code = "unsupported-channel-binding-type"
	InvalidUsernameEncoding       Code = "invalid-username-encoding"
	OtherError                    Code = "other-error"
)

// Error is what was wrong with a message of a client. It holds nothing of the message.
type Error struct {
	Code Code
	What string
}

// Error returns what was wrong and the code.
func (e *Error) Error() string { return "scram: " + e.What + " (" + string(e.Code) + ")" }

func fail(code Code, what string) error { return &Error{code, what} }
