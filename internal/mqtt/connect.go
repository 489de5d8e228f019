package mqtt

import "bytes"

// Connect is a CONNECT (3.1).
type Connect struct {
	Version     Version
	CleanStart  bool
	KeepAlive   uint16 // in seconds; 0 is none
	Props       Properties
	ClientID    []byte
	HasWill     bool
	Will        Will
	HasUser     bool
	User        []byte
	HasPassword bool
	Password    []byte
}

// Will is the will message of a CONNECT.
type Will struct {
	QoS     byte
	Retain  bool
	Props   Properties
	Topic   []byte
	Payload []byte
}

// Flags of a CONNECT (3.1.2.3).
const (
	flagCleanStart = 1 << 1
	flagWill       = 1 << 2
	flagWillRetain = 1 << 5
	flagPassword   = 1 << 6
	flagUser       = 1 << 7
)

var (
	errProtocol     = &Error{UnsupportedVersion, "the protocol's name is not MQTT"}
	errVersion      = &Error{UnsupportedVersion, "the protocol's version is neither 3.1.1 nor 5.0"}
	errConnectFlags = malformed("the flags of CONNECT contradict each other or a reserved one is set")
	errWillTopic    = &Error{TopicNameInvalid, "the topic of the will is empty or has a wildcard"}
)

// bridgeBit is set in the version by brokers that connect as bridges. Who gets return code 1 of 3.1.1 tries again without it.
const bridgeBit = 0x80

// ReadConnect reads a whole CONNECT. If the version is not spoken here the error has [UnsupportedVersion]; the Version that is
// returned beside it is V311 if the peer takes the answer of a 3.1.1 server, as all before 5.0 and bridges do.
func ReadConnect(h Head, packet []byte) (c Connect, err error) {
	r := h.body(packet)
	name, version := r.data(), r.byte()
	if r.err != nil {
		return Connect{}, r.err
	}
	c.Version = V311
	if version >= byte(V5) && version&bridgeBit == 0 {
		c.Version = V5
	}
	switch {
	case string(name) == "MQIsdp" && version == 3:
		return Connect{Version: V311}, errVersion
	case string(name) != "MQTT":
		return Connect{Version: c.Version}, errProtocol
	case version != byte(V311) && version != byte(V5):
		return Connect{Version: c.Version}, errVersion
	}
	flags := r.byte()
	c.KeepAlive = r.uint16()
	c.Props = r.properties(c.Version, inConnect)
	c.ClientID = r.text()
	if err := c.readFlags(flags); err != nil && r.err == nil {
		return Connect{Version: c.Version}, err
	}
	if c.HasWill {
		c.Will.Props = r.properties(c.Version, inWill)
		c.Will.Topic = r.text()
		c.Will.Payload = r.data()
	}
	if c.HasUser {
		c.User = r.text()
	}
	if c.HasPassword {
		c.Password = r.data()
	}
	if err := r.end(); err != nil {
		return Connect{Version: c.Version}, err
	}
	if c.HasWill && (len(c.Will.Topic) == 0 || bytes.ContainsAny(c.Will.Topic, "+#")) {
		return Connect{Version: c.Version}, errWillTopic
	}
	return c, nil
}

func (c *Connect) readFlags(flags byte) error {
	c.CleanStart = flags&flagCleanStart != 0
	c.HasUser, c.HasPassword = flags&flagUser != 0, flags&flagPassword != 0
	c.HasWill = flags&flagWill != 0
	c.Will.QoS, c.Will.Retain = flags>>3&3, flags&flagWillRetain != 0
	switch {
	case flags&1 != 0, // MQTT-3.1.2-3
		c.Will.QoS == 3,
		!c.HasWill && (c.Will.QoS != 0 || c.Will.Retain),
		c.Version < V5 && c.HasPassword && !c.HasUser: // MQTT-3.1.2-22 of 3.1.1
		return errConnectFlags
	}
	return nil
}

// AppendConnect appends a CONNECT.
func AppendConnect(dst []byte, c *Connect) []byte {
	var flags byte
	length := 2 + 4 + 1 + 1 + 2 + propertiesSize(c.Version, c.Props) + dataSize(c.ClientID)
	if c.CleanStart {
		flags |= flagCleanStart
	}
	if c.HasWill {
		flags |= flagWill | c.Will.QoS<<3
		if c.Will.Retain {
			flags |= flagWillRetain
		}
		length += propertiesSize(c.Version, c.Will.Props) + dataSize(c.Will.Topic) + dataSize(c.Will.Payload)
	}
	if c.HasUser {
		flags |= flagUser
		length += dataSize(c.User)
	}
	if c.HasPassword {
		flags |= flagPassword
		length += dataSize(c.Password)
	}
	dst = AppendHead(dst, CONNECT, 0, length)
	dst = append(dst, 0, 4, 'M', 'Q', 'T', 'T', byte(c.Version), flags)
	dst = appendUint16(dst, c.KeepAlive)
	dst = appendProperties(dst, c.Version, c.Props)
	dst = appendData(dst, c.ClientID)
	if c.HasWill {
		dst = appendProperties(dst, c.Version, c.Will.Props)
		dst = appendData(dst, c.Will.Topic)
		dst = appendData(dst, c.Will.Payload)
	}
	if c.HasUser {
		dst = appendData(dst, c.User)
	}
	if c.HasPassword {
		dst = appendData(dst, c.Password)
	}
	return dst
}

// Connack is a CONNACK (3.2).
type Connack struct {
	SessionPresent bool
	Code           Code // of a 3.1.1 packet: what its return code means, see [Code.ReturnCode]
	Props          Properties
}

var (
	errConnackFlags = malformed("the flags of CONNACK are not as they must be")
	errReturnCode   = malformed("the return code of CONNACK is none of the standard")
)

// returnCodes is what the return codes of a CONNACK of 3.1.1 mean (3.2.2.3 there).
var returnCodes = [6]Code{Success, UnsupportedVersion, ClientIDNotValid, ServerUnavailable, BadUserNameOrPassword, NotAuthorized}

// ReadConnack reads a whole CONNACK.
func ReadConnack(v Version, h Head, packet []byte) (c Connack, err error) {
	r := h.body(packet)
	flags := r.byte()
	code := r.byte()
	if r.err == nil && flags > 1 {
		return Connack{}, errConnackFlags
	}
	c.SessionPresent, c.Code = flags == 1, Code(code)
	switch {
	case v == V5 && len(r.b) == 0 && code == 1: // a 3.1.1 broker that refuses the version answers as it can
		c.Code = UnsupportedVersion
		return c, r.end()
	case v == V5:
		c.Props = r.properties(v, inConnack)
	case int(code) < len(returnCodes):
		c.Code = returnCodes[code]
	default:
		return Connack{}, errReturnCode
	}
	return c, r.end()
}

// AppendConnack appends a CONNACK. For 3.1.1 the code is translated by [Code.ReturnCode].
func AppendConnack(dst []byte, v Version, c *Connack) []byte {
	var present byte
	if c.SessionPresent {
		present = 1
	}
	code := byte(c.Code)
	if v < V5 {
		code = c.Code.ReturnCode()
	}
	dst = AppendHead(dst, CONNACK, 0, 2+propertiesSize(v, c.Props))
	dst = append(dst, present, code)
	return appendProperties(dst, v, c.Props)
}
