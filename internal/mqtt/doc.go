// Package mqtt is the wire format of MQTT 3.1.1 and 5.0. It reads control
// packets in place and writes them by appending to a buffer. It holds no state
// and knows no connection: the MQTT door, the embedded broker, and tests that
// speak to them stand on it.
//
// A packet begins with a [Head], which says its type and how long it is:
//
//	h, ok, err := mqtt.ReadHead(buf)
//	if err != nil || !ok {
//		return err // malformed, or more bytes are needed
//	}
//	packet := buf[:h.Total()]
//	switch h.Type {
//	case mqtt.PUBLISH:
//		p, ok, err := mqtt.ReadPublish(version, mqtt.FromClient, h, packet)
//	case mqtt.SUBSCRIBE:
//		s, err := mqtt.ReadSubscribe(version, h, packet)
//	…
//
// What the Read functions return points into the buffer: it is valid until the
// buffer is used again. They check everything that the standard demands of one
// packet by itself: lengths, reserved bits, UTF-8, which properties may be there
// and how often. An error is an [*Error]: the reason code that the standard has
// for it, and words for the log. They never panic and never allocate on
// what is well formed.
//
// Section numbers in comments are those of MQTT 5.0 (OASIS, 7 March 2019).
package mqtt

import "fmt"

// Type is the type of a control packet (2.1.2).
type Type byte

// The types of control packets.
const (
	CONNECT Type = iota + 1
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
	AUTH
)

var typeNames = [16]string{
	"0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK",
	"UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String returns the name that the standard gives the type.
func (t Type) String() string { return typeNames[t&15] }

// Version is the protocol version of a connection, as CONNECT carries it.
type Version byte

// The versions that are spoken here.
const (
	V311 Version = 4
	V5   Version = 5
)

// Side is who sends a packet. Some packets may hold more from one side than from the other.
type Side bool

// The two sides of a connection.
const (
	FromClient Side = false
	FromServer Side = true
)

// Code is a reason code of MQTT 5.0 (2.4).
type Code byte

// The reason codes.
const (
	Success                 Code = 0x00
	GrantedQoS1             Code = 0x01
	GrantedQoS2             Code = 0x02
	DisconnectWithWill      Code = 0x04
	NoMatchingSubscribers   Code = 0x10
	NoSubscriptionExisted   Code = 0x11
	ContinueAuthentication  Code = 0x18
	ReAuthenticate          Code = 0x19
	Unspecified             Code = 0x80
	MalformedPacket         Code = 0x81
	ProtocolError           Code = 0x82
	ImplementationSpecific  Code = 0x83
	UnsupportedVersion      Code = 0x84
	ClientIDNotValid        Code = 0x85
	BadUserNameOrPassword   Code = 0x86
	NotAuthorized           Code = 0x87
	ServerUnavailable       Code = 0x88
	ServerBusy              Code = 0x89
	Banned                  Code = 0x8A
	ServerShuttingDown      Code = 0x8B
	BadAuthenticationMethod Code = 0x8C
	KeepAliveTimeout        Code = 0x8D
	SessionTakenOver        Code = 0x8E
	TopicFilterInvalid      Code = 0x8F
	TopicNameInvalid        Code = 0x90
	PacketIDInUse           Code = 0x91
	PacketIDNotFound        Code = 0x92
	ReceiveMaximumExceeded  Code = 0x93
	TopicAliasInvalid       Code = 0x94
	PacketTooLarge          Code = 0x95
	MessageRateTooHigh      Code = 0x96
	QuotaExceeded           Code = 0x97
	AdministrativeAction    Code = 0x98
	PayloadFormatInvalid    Code = 0x99
	RetainNotSupported      Code = 0x9A
	QoSNotSupported         Code = 0x9B
	UseAnotherServer        Code = 0x9C
	ServerMoved             Code = 0x9D
	SharedNotSupported      Code = 0x9E
	ConnectionRateExceeded  Code = 0x9F
	MaximumConnectTime      Code = 0xA0
	SubIDNotSupported       Code = 0xA1
	WildcardNotSupported    Code = 0xA2
)

// Failed reports whether c says that something did not work.
func (c Code) Failed() bool { return c >= 0x80 }

// ReturnCode is what a CONNACK of MQTT 3.1.1 has for c (3.2.2.3 there).
func (c Code) ReturnCode() byte {
	switch {
	case !c.Failed():
		return 0
	case c == UnsupportedVersion:
		return 1
	case c == ClientIDNotValid:
		return 2
	case c == ServerUnavailable || c == ServerBusy || c == ServerShuttingDown || c == UseAnotherServer || c == ServerMoved || c == ConnectionRateExceeded || c == QuotaExceeded:
		return 3
	case c == BadUserNameOrPassword:
		return 4
	}
	return 5
}

// Error is a violation of the protocol.
type Error struct {
	Code Code
	Why  string // for the log; holds nothing of the packet
}

// Error says what was wrong.
func (e *Error) Error() string { return fmt.Sprintf("%s (0x%02X)", e.Why, byte(e.Code)) }

func malformed(why string) *Error { return &Error{MalformedPacket, why} }
func violation(why string) *Error { return &Error{ProtocolError, why} }

var (
	errShort      = malformed("the packet ends too early")
	errTrailing   = malformed("the packet is longer than what it holds")
	errUTF8       = malformed("a string is not valid UTF-8 or has a NUL")
	errPacketID   = violation("the packet identifier is 0")
	errTopic      = &Error{TopicNameInvalid, "a topic name has a wildcard"}
	errNoTopic    = violation("a topic name is empty and there is no alias")
	errNoTopic311 = &Error{TopicNameInvalid, "a topic name is empty"}
)
