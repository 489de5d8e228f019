package mqtt

import "encoding/binary"

// PropertyID says what a property is (2.2.2.2).
type PropertyID byte

// The properties.
const (
	PayloadFormat          PropertyID = 0x01
	MessageExpiry          PropertyID = 0x02
	ContentType            PropertyID = 0x03
	ResponseTopic          PropertyID = 0x08
	CorrelationData        PropertyID = 0x09
	SubscriptionIdentifier PropertyID = 0x0B
	SessionExpiry          PropertyID = 0x11
	AssignedClientID       PropertyID = 0x12
	ServerKeepAlive        PropertyID = 0x13
	AuthenticationMethod   PropertyID = 0x15
	AuthenticationData     PropertyID = 0x16
	RequestProblemInfo     PropertyID = 0x17
	WillDelay              PropertyID = 0x18
	RequestResponseInfo    PropertyID = 0x19
	ResponseInformation    PropertyID = 0x1A
	ServerReference        PropertyID = 0x1C
	ReasonString           PropertyID = 0x1F
	ReceiveMaximum         PropertyID = 0x21
	TopicAliasMaximum      PropertyID = 0x22
	TopicAlias             PropertyID = 0x23
	MaximumQoS             PropertyID = 0x24
	RetainAvailable        PropertyID = 0x25
	UserProperty           PropertyID = 0x26
	MaximumPacketSize      PropertyID = 0x27
	WildcardAvailable      PropertyID = 0x28
	SubIDAvailable         PropertyID = 0x29
	SharedAvailable        PropertyID = 0x2A
)

// kind is how a property's value is written.
type kind byte

const (
	kindNone kind = iota
	kindByte
	kindUint16
	kindUint32
	kindVarint
	kindText
	kindData
	kindPair
)

var kinds = [64]kind{
	PayloadFormat: kindByte, MessageExpiry: kindUint32, ContentType: kindText, ResponseTopic: kindText, CorrelationData: kindData,
	SubscriptionIdentifier: kindVarint, SessionExpiry: kindUint32, AssignedClientID: kindText, ServerKeepAlive: kindUint16,
	AuthenticationMethod: kindText, AuthenticationData: kindData, RequestProblemInfo: kindByte, WillDelay: kindUint32,
	RequestResponseInfo: kindByte, ResponseInformation: kindText, ServerReference: kindText, ReasonString: kindText,
	ReceiveMaximum: kindUint16, TopicAliasMaximum: kindUint16, TopicAlias: kindUint16, MaximumQoS: kindByte, RetainAvailable: kindByte,
	UserProperty: kindPair, MaximumPacketSize: kindUint32, WildcardAvailable: kindByte, SubIDAvailable: kindByte, SharedAvailable: kindByte,
}

// props is a set of properties, a bit for each.
type props uint64

func setOf(ids ...PropertyID) (s props) {
	for _, id := range ids {
		s |= 1 << id
	}
	return s
}

// What may be in which packet (2.2.2.2, table 2-4).
var (
	inConnect = setOf(SessionExpiry, ReceiveMaximum, MaximumPacketSize, TopicAliasMaximum, RequestResponseInfo, RequestProblemInfo,
		UserProperty, AuthenticationMethod, AuthenticationData)
	inWill    = setOf(WillDelay, PayloadFormat, MessageExpiry, ContentType, ResponseTopic, CorrelationData, UserProperty)
	inConnack = setOf(SessionExpiry, ReceiveMaximum, MaximumQoS, RetainAvailable, MaximumPacketSize, AssignedClientID, TopicAliasMaximum,
		ReasonString, UserProperty, WildcardAvailable, SubIDAvailable, SharedAvailable, ServerKeepAlive, ResponseInformation, ServerReference,
		AuthenticationMethod, AuthenticationData)
	inPublish     = setOf(PayloadFormat, MessageExpiry, TopicAlias, ResponseTopic, CorrelationData, UserProperty, ContentType)
	inDelivery    = inPublish | setOf(SubscriptionIdentifier)
	inAck         = setOf(ReasonString, UserProperty)
	inSubscribe   = setOf(SubscriptionIdentifier, UserProperty)
	inUnsubscribe = setOf(UserProperty)
	inDisconnect  = setOf(SessionExpiry, ReasonString, UserProperty, ServerReference)
	inAuth        = setOf(AuthenticationMethod, AuthenticationData, ReasonString, UserProperty)
)

var (
	errPropLength = malformed("the length of the properties is malformed")
	errPropShort  = malformed("a property ends too early")
	errPropText   = malformed("a property's string is not valid UTF-8 or has a NUL")
	errPropID     = malformed("a property is not one of this packet")
	errPropTwice  = violation("a property is there twice")
	errPropValue  = violation("a property has a value that it must not have")
	errAliasZero  = &Error{TopicAliasInvalid, "the topic alias is 0"}
)

// Properties are the properties of a packet as they are on the wire, without their length. Those of a packet that was read are well formed.
type Properties []byte

// Property is one property.
type Property struct {
	ID     PropertyID
	Number uint32 // of properties that are numbers
	Text   []byte // of strings and binary data; of a user property, its name
	Value  []byte // of a user property
}

// Next returns the first property and those behind it; false if there is none, or it is malformed.
func (p Properties) Next() (one Property, rest Properties, ok bool) {
	one, n := p.first()
	if n <= 0 {
		return Property{}, nil, false
	}
	return one, p[n:], true
}

// first reads the first property and says how long it is; 0 if there is none or it is malformed.
func (p Properties) first() (one Property, size int) {
	if len(p) == 0 || p[0] >= 64 {
		return one, 0
	}
	one.ID = PropertyID(p[0])
	b := p[1:]
	switch kinds[one.ID] {
	case kindByte:
		if len(b) >= 1 {
			one.Number, size = uint32(b[0]), 1
		}
	case kindUint16:
		if len(b) >= 2 {
			one.Number, size = uint32(binary.BigEndian.Uint16(b)), 2
		}
	case kindUint32:
		if len(b) >= 4 {
			one.Number, size = binary.BigEndian.Uint32(b), 4
		}
	case kindVarint:
		var n int
		if n, size = readVarint(b); size > 0 {
			one.Number = uint32(n)
		}
	case kindText, kindData:
		one.Text, size = prefixed(b)
	case kindPair:
		var n int
		if one.Text, n = prefixed(b); n > 0 {
			if one.Value, size = prefixed(b[n:]); size > 0 {
				size += n
			}
		}
	}
	if size <= 0 {
		return Property{ID: one.ID}, 0
	}
	return one, size + 1
}

// prefixed reads what has its length in front, and says how long it is with that; 0 if it is not all there.
func prefixed(b []byte) ([]byte, int) {
	if len(b) < 2 {
		return nil, 0
	}
	n := int(binary.BigEndian.Uint16(b)) + 2
	if len(b) < n {
		return nil, 0
	}
	return b[2:n:n], n
}

// check says what is wrong with the properties of a packet that may have the allowed ones.
func (p Properties) check(allowed props) error {
	var seen props
	for len(p) > 0 {
		one, size := p.first()
		if p[0] >= 64 || kinds[p[0]] == kindNone || allowed&(1<<p[0]) == 0 {
			return errPropID
		}
		if size == 0 {
			return errPropShort
		}
		bit := props(1) << one.ID
		// Subscription identifiers of several subscriptions come together in one delivery (3.3.2.3.8).
		if seen&bit != 0 && one.ID != UserProperty && (one.ID != SubscriptionIdentifier || allowed != inDelivery) {
			return errPropTwice
		}
		seen |= bit
		if err := one.check(); err != nil {
			return err
		}
		p = p[size:]
	}
	if seen&(1<<AuthenticationData) != 0 && seen&(1<<AuthenticationMethod) == 0 {
		return errPropValue // 3.1.2.11.10
	}
	return nil
}

func (p *Property) check() error {
	switch kinds[p.ID] {
	case kindText:
		if !ValidText(p.Text) {
			return errPropText
		}
		if p.ID == ResponseTopic {
			return checkTopic(p.Text) // MQTT-3.3.2-14
		}
	case kindPair:
		if !ValidText(p.Text) || !ValidText(p.Value) {
			return errPropText
		}
	case kindByte:
		if p.Number > 1 {
			return errPropValue
		}
	}
	switch {
	case p.ID == TopicAlias && p.Number == 0:
		return errAliasZero
	case p.Number == 0 && (p.ID == ReceiveMaximum || p.ID == MaximumPacketSize || p.ID == SubscriptionIdentifier):
		return errPropValue
	}
	return nil
}

// Number returns the value of a property that is a number.
func (p Properties) Number(id PropertyID) (uint32, bool) {
	one, ok := p.find(id)
	return one.Number, ok
}

// Text returns the value of a property that is a string or binary data.
func (p Properties) Text(id PropertyID) ([]byte, bool) {
	one, ok := p.find(id)
	return one.Text, ok
}

func (p Properties) find(id PropertyID) (Property, bool) {
	for {
		one, rest, ok := p.Next()
		if !ok || one.ID == id {
			return one, ok
		}
		p = rest
	}
}

// AppendNumber appends a property that is a number.
func (p Properties) AppendNumber(id PropertyID, n uint32) Properties {
	p = append(p, byte(id))
	switch kinds[id] {
	case kindByte:
		return append(p, byte(n))
	case kindUint16:
		return binary.BigEndian.AppendUint16(p, uint16(n))
	case kindVarint:
		return appendVarint(p, int(n))
	}
	return binary.BigEndian.AppendUint32(p, n)
}

// AppendText appends a property that is a string or binary data.
func (p Properties) AppendText(id PropertyID, s string) Properties {
	return appendData(append(p, byte(id)), s)
}

// AppendUser appends a user property.
func (p Properties) AppendUser(name, value string) Properties {
	return appendData(p.AppendText(UserProperty, name), value)
}

// AppendWithout appends to dst the properties of p but for those with the given ids.
func (p Properties) AppendWithout(dst Properties, ids ...PropertyID) Properties {
	drop := setOf(ids...)
	for len(p) > 0 {
		one, size := p.first()
		if size == 0 {
			return dst
		}
		if drop&(1<<one.ID) == 0 {
			dst = append(dst, p[:size]...)
		}
		p = p[size:]
	}
	return dst
}

// appendProperties appends properties with their length, if the version has any.
func appendProperties(dst []byte, v Version, p Properties) []byte {
	if v < V5 {
		return dst
	}
	return append(appendVarint(dst, len(p)), p...)
}

// propertiesSize is how many bytes appendProperties appends.
func propertiesSize(v Version, p Properties) int {
	if v < V5 {
		return 0
	}
	return varintSize(len(p)) + len(p)
}
