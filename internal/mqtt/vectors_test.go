package mqtt_test

import (
	"bytes"
	"errors"
	"testing"

	"cardea/internal/mqtt"
)

// The table of 2.2.3 of MQTT 3.1.1 (1.5.5 of 5.0): the smallest and the largest value of each length.
func TestRemainingLength(t *testing.T) {
	for _, c := range []struct {
		length int
		wire   string
	}{
		{0, "00"},
		{127, "7F"},
		{128, "80 01"},
		{16_383, "FF 7F"},
		{16_384, "80 80 01"},
		{2_097_151, "FF FF 7F"},
		{2_097_152, "80 80 80 01"},
		{mqtt.MaxLength, "FF FF FF 7F"},
	} {
		wire := append([]byte{0x30}, bytesOf(t, c.wire)...)
		if got := mqtt.AppendHead(nil, mqtt.PUBLISH, 0, c.length); !bytes.Equal(got, wire) || mqtt.HeadSize(c.length) != len(wire) {
			t.Errorf("%d is written as % X, size %d", c.length, got, mqtt.HeadSize(c.length))
		}
		for cut := range wire {
			if _, ok, err := mqtt.ReadHead(wire[:cut]); ok || err != nil {
				t.Errorf("% X is called a whole header (%v)", wire[:cut], err)
			}
		}
		h, ok, err := mqtt.ReadHead(append(wire, 0xFF))
		if err != nil || !ok || h.Length != c.length || h.Size != len(wire) || h.Total() != c.length+len(wire) {
			t.Errorf("% X is read as %+v, %v, %v", wire, h, ok, err)
		}
	}
}

func TestHeadsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ what, wire string }{
		{"type 0 (2.1.2)", "00 00"},
		{"five bytes of length (1.5.5), M14", "30 FF FF FF FF 01"},
		{"a flag that is reserved (2.1.3)", "11 00"},
		{"SUBSCRIBE without its flag", "80 05"},
		{"UNSUBSCRIBE without its flag", "A0 05"},
		{"PUBREL without its flag", "60 02"},
		{"PUBACK with a flag", "42 02"},
		{"QoS 3 (MQTT-3.3.1-4)", "36 05"},
		{"DUP at QoS 0 (MQTT-3.3.1-2)", "38 05"},
		{"PINGREQ that is not empty (3.12)", "C0 01"},
		{"PINGRESP that is not empty (3.13)", "D0 01"},
	} {
		_, ok, err := mqtt.ReadHead(bytesOf(t, c.wire))
		e, is := errors.AsType[*mqtt.Error](err)
		if ok && err == nil || !is || e.Code != mqtt.MalformedPacket {
			t.Errorf("%s: %v, %v", c.what, ok, err)
		}
	}
}

// The examples of the standard's text, and one packet of each type in both versions: they are read, and written again they
// are the same bytes.
func TestPacketsOfTheStandard(t *testing.T) {
	for _, c := range []struct {
		what string
		v    mqtt.Version
		from mqtt.Side
		wire string
	}{
		{"CONNECT, all flags (3.1.2.12 of 3.1.1)", mqtt.V311, mqtt.FromClient, `10 27 0004 "MQTT" 04 CE 000A 0004 "rcv1" 0003 "a/b" 0004 "gone" 0004 "user" 0004 "pass"`},
		{"CONNECT with an expiry of 10 s (3.1.2.12)", mqtt.V5, mqtt.FromClient, `10 2E 0004 "MQTT" 05 CE 000A 05 11 0000000A 0004 "rcv1" 00 0003 "a/b" 0004 "gone" 0004 "user" 0004 "pass"`},
		{"CONNECT with a will that waits", mqtt.V5, mqtt.FromClient, `10 1C 0004 "MQTT" 05 34 0000 00 0001 "c" 05 18 00000003 0003 "a/b" 0001 "x"`},
		{"CONNECT with a password alone, as 5.0 allows", mqtt.V5, mqtt.FromClient, `10 12 0004 "MQTT" 05 42 0000 00 0001 "c" 0002 "pw"`},
		{"CONNACK of a session that is there", mqtt.V311, mqtt.FromServer, `20 02 01 00`},
		{"CONNACK not authorized", mqtt.V311, mqtt.FromServer, `20 02 00 05`},
		{"CONNACK with keep alive", mqtt.V5, mqtt.FromServer, `20 06 00 00 03 13 003C`},
		{"PUBLISH (3.3.2.4)", mqtt.V5, mqtt.FromClient, `32 08 0003 "a/b" 000A 00`},
		{"PUBLISH (3.3.2.3 of 3.1.1)", mqtt.V311, mqtt.FromClient, `3B 0B 0003 "a/b" 000A "data"`},
		{"PUBLISH with an alias alone", mqtt.V5, mqtt.FromClient, `30 07 0000 03 23 0001 "x"`},
		{"PUBLISH for two subscriptions", mqtt.V5, mqtt.FromServer, `30 0B 0003 "a/b" 05 0B 01 0B 80 02`},
		{"PUBLISH of U+2A6D4 (1.5.4)", mqtt.V311, mqtt.FromClient, `30 07 0005 "A" F0AA9B94`},
		{"PUBLISH of U+FEFF, which stays (MQTT-1.5.4-3)", mqtt.V311, mqtt.FromClient, `30 05 0003 EFBBBF`},
		{"PUBACK", mqtt.V311, mqtt.FromServer, `40 02 000A`},
		{"PUBREC refused", mqtt.V5, mqtt.FromServer, `50 03 000A 87`},
		{"PUBREL", mqtt.V5, mqtt.FromClient, `62 02 000A`},
		{"PUBCOMP of what is not there", mqtt.V5, mqtt.FromServer, `70 03 000A 92`},
		{"SUBSCRIBE (3.8.3)", mqtt.V311, mqtt.FromClient, `82 0E 000A 0003 "a/b" 01 0003 "c/d" 02`},
		{"SUBSCRIBE (3.8.3)", mqtt.V5, mqtt.FromClient, `82 12 000A 03 0B 95 06 0003 "a/b" 01 0003 "c/d" 2E`},
		{"SUBACK (3.9.3)", mqtt.V311, mqtt.FromServer, `90 05 000A 00 02 80`},
		{"UNSUBSCRIBE (3.10.3)", mqtt.V5, mqtt.FromClient, `A2 0D 000A 00 0003 "a/b" 0003 "c/d"`},
		{"UNSUBACK of 3.1.1", mqtt.V311, mqtt.FromServer, `B0 02 000A`},
		{"UNSUBACK", mqtt.V5, mqtt.FromServer, `B0 05 000A 00 00 11`},
		{"PINGREQ", mqtt.V311, mqtt.FromClient, `C0 00`},
		{"PINGRESP", mqtt.V5, mqtt.FromServer, `D0 00`},
		{"DISCONNECT of 3.1.1", mqtt.V311, mqtt.FromClient, `E0 00`},
		{"DISCONNECT in the short form", mqtt.V5, mqtt.FromClient, `E0 00`},
		{"DISCONNECT that wants the will", mqtt.V5, mqtt.FromClient, `E0 01 04`},
		{"DISCONNECT with an expiry", mqtt.V5, mqtt.FromClient, `E0 07 00 05 11 0000000A`},
		{"AUTH", mqtt.V5, mqtt.FromClient, `F0 0F 18 0D 15 0005 "SCRAM" 16 0002 FF00`},
		{"AUTH in the short form (3.15.2.1)", mqtt.V5, mqtt.FromServer, `F0 00`},
	} {
		wire := bytesOf(t, c.wire)
		again, _, err := reencode(c.v, c.from, wire)
		if err != nil || !bytes.Equal(again, wire) {
			t.Errorf("%s: % X became % X (%v)", c.what, wire, again, err)
		}
		// Nothing of it can be missing (M14, M23), and what follows belongs to the next packet.
		h, _, _ := mqtt.ReadHead(wire)
		for end := h.Size; end < len(wire); end++ {
			if _, _, err := reencode(c.v, c.from, frame(h.Type, h.Flags, wire[h.Size:end])); err == nil && !mayEnd(c.v, h.Type, end-h.Size) {
				t.Errorf("%s, cut to % X, is accepted", c.what, wire[:end])
			}
		}
		if again, _, err := reencode(c.v, c.from, append(bytes.Clone(wire), 0xFF, 0xFF)); err != nil || !bytes.Equal(again, wire) {
			t.Errorf("%s: with bytes of the next packet behind it, it is % X (%v)", c.what, again, err)
		}
	}
}

// mayEnd says which packets are whole when only n bytes of their body are there.
func mayEnd(v mqtt.Version, kind mqtt.Type, n int) bool {
	switch kind {
	case mqtt.PUBLISH:
		return n >= 5 // what is cut is payload
	case mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE:
		return n > 5 // a filter less
	case mqtt.SUBACK, mqtt.UNSUBACK:
		return n > 2 // a code less
	case mqtt.DISCONNECT, mqtt.AUTH:
		return n <= 1
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		return v == mqtt.V5 && n == 2
	}
	return false
}

// What each of them gets is the reason code of the standard (M10, M16).
func TestPacketsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		what string
		v    mqtt.Version
		wire string
		code mqtt.Code
	}{
		{"a protocol that is not MQTT", mqtt.V5, `10 0F 0004 "HTTP" 05 02 0000 00 0002 "ab"`, mqtt.UnsupportedVersion},
		{"MQTT 3.1, M20", mqtt.V311, `10 10 0006 "MQIsdp" 03 02 0000 0002 "ab"`, mqtt.UnsupportedVersion},
		{"a version to come", mqtt.V5, `10 0F 0004 "MQTT" 06 02 0000 00 0002 "ab"`, mqtt.UnsupportedVersion},
		{"a reserved flag of CONNECT (MQTT-3.1.2-3)", mqtt.V311, `10 0E 0004 "MQTT" 04 03 0000 0002 "ab"`, mqtt.MalformedPacket},
		{"a will's QoS without a will", mqtt.V311, `10 0E 0004 "MQTT" 04 0A 0000 0002 "ab"`, mqtt.MalformedPacket},
		{"a will that is retained without a will", mqtt.V311, `10 0E 0004 "MQTT" 04 22 0000 0002 "ab"`, mqtt.MalformedPacket},
		{"a will of QoS 3", mqtt.V311, `10 14 0004 "MQTT" 04 1E 0000 0002 "ab" 0001 "t" 0001 "m"`, mqtt.MalformedPacket},
		{"a password without a user in 3.1.1", mqtt.V311, `10 11 0004 "MQTT" 04 42 0000 0002 "ab" 0001 "p"`, mqtt.MalformedPacket},
		{"a will on a wildcard", mqtt.V311, `10 14 0004 "MQTT" 04 06 0000 0002 "ab" 0001 "#" 0001 "m"`, mqtt.TopicNameInvalid},
		{"a will on nothing", mqtt.V311, `10 13 0004 "MQTT" 04 06 0000 0002 "ab" 0000 0001 "m"`, mqtt.TopicNameInvalid},
		{"a NUL in a client id", mqtt.V311, `10 0E 0004 "MQTT" 04 02 0000 0002 "a" 00`, mqtt.MalformedPacket},
		{"a client id that is not UTF-8", mqtt.V311, `10 0E 0004 "MQTT" 04 02 0000 0002 C3 28`, mqtt.MalformedPacket},
		{"a surrogate in a user name (MQTT-1.5.4-1)", mqtt.V311, `10 12 0004 "MQTT" 04 82 0000 0001 "a" 0003 EDA080`, mqtt.MalformedPacket},
		{"bytes behind the end of a CONNECT", mqtt.V311, `10 0F 0004 "MQTT" 04 02 0000 0002 "ab" 00`, mqtt.MalformedPacket},
		{"an identifier of 0", mqtt.V311, `32 07 0003 "a/b" 0000`, mqtt.ProtocolError},
		{"a wildcard in a topic", mqtt.V311, `30 05 0003 "a/+"`, mqtt.TopicNameInvalid},
		{"a wildcard behind other letters", mqtt.V5, `30 07 0004 C3A9 "/#" 00`, mqtt.TopicNameInvalid},
		{"a NUL behind other letters", mqtt.V5, `30 07 0004 C3A9 "a" 00 00`, mqtt.MalformedPacket},
		{"a topic that is not UTF-8", mqtt.V311, `30 05 0003 "a" C3 28`, mqtt.MalformedPacket},
		{"no topic", mqtt.V311, `30 02 0000`, mqtt.TopicNameInvalid},
		{"no topic and no alias", mqtt.V5, `30 03 0000 00`, mqtt.ProtocolError},
		{"a topic longer than the packet", mqtt.V311, `30 05 0004 "a/b"`, mqtt.MalformedPacket},
		{"properties longer than the packet", mqtt.V5, `30 06 0003 "a/b" 01`, mqtt.MalformedPacket},
		{"a length of properties with a byte too many (MQTT-1.5.5-1)", mqtt.V5, `30 07 0003 "a/b" 80 00`, mqtt.MalformedPacket},
		{"a subscription identifier from a client (MQTT-3.3.4-6)", mqtt.V5, `30 08 0003 "a/b" 02 0B 01`, mqtt.MalformedPacket},
		{"a wildcard in a response topic (MQTT-3.3.2-14)", mqtt.V5, `30 0A 0003 "a/b" 04 08 0001 "#"`, mqtt.TopicNameInvalid},
		{"an alias of 0 (MQTT-3.3.2-8)", mqtt.V5, `30 09 0003 "a/b" 03 23 0000`, mqtt.TopicAliasInvalid},
		{"no filters (MQTT-3.8.3-2)", mqtt.V311, `82 02 000A`, mqtt.ProtocolError},
		{"SUBSCRIBE of 8 bytes whose filter has no options", mqtt.V5, `82 06 000A 00 0001 "a"`, mqtt.MalformedPacket},
		{"QoS 3 in a filter's options", mqtt.V311, `82 06 000A 0001 "a" 03`, mqtt.MalformedPacket},
		{"options of 5.0 in 3.1.1", mqtt.V311, `82 06 000A 0001 "a" 04`, mqtt.MalformedPacket},
		{"retain handling 3", mqtt.V5, `82 07 000A 00 0001 "a" 30`, mqtt.MalformedPacket},
		{"reserved options", mqtt.V5, `82 07 000A 00 0001 "a" 40`, mqtt.MalformedPacket},
		{"a shared subscription with No Local (MQTT-3.8.3-4)", mqtt.V5, `82 10 000A 00 000A "$share/g/a" 04`, mqtt.ProtocolError},
		{"nothing to unsubscribe (MQTT-3.10.3-2)", mqtt.V5, `A2 03 000A 00`, mqtt.ProtocolError},
		{"SUBACK without a code", mqtt.V311, `90 02 000A`, mqtt.ProtocolError},
		{"UNSUBACK with a code in 3.1.1", mqtt.V311, `B0 03 000A 00`, mqtt.MalformedPacket},
		{"CONNACK with a reserved flag", mqtt.V5, `20 03 02 00 00`, mqtt.MalformedPacket},
		{"a return code that is none", mqtt.V311, `20 02 00 06`, mqtt.MalformedPacket},
		{"AUTH in 3.1.1", mqtt.V311, `F0 00`, mqtt.ProtocolError},
		{"DISCONNECT of 3.1.1 that says something", mqtt.V311, `E0 01 00`, mqtt.MalformedPacket},
		{"PUBACK of 3.1.1 that says something", mqtt.V311, `40 03 000A 00`, mqtt.MalformedPacket},
	} {
		_, _, err := reencode(c.v, mqtt.FromClient, bytesOf(t, c.wire))
		if e, is := errors.AsType[*mqtt.Error](err); !is || e.Code != c.code {
			t.Errorf("%s: %v, want 0x%02X", c.what, err, byte(c.code))
		}
	}
}

// Which version answers a CONNECT that cannot be spoken with: brokers that connect as bridges set a bit, and fall back
// only on what 3.1.1 says.
func TestVersionOfARefusal(t *testing.T) {
	for wire, want := range map[string]mqtt.Version{
		`10 10 0006 "MQIsdp" 03 02 0000 0002 "ab"`:  mqtt.V311,
		`10 0E 0004 "MQTT" 03 02 0000 0002 "ab"`:    mqtt.V311,
		`10 0E 0004 "MQTT" 84 02 0000 0002 "ab"`:    mqtt.V311,
		`10 0F 0004 "MQTT" 06 02 0000 00 0002 "ab"`: mqtt.V5,
	} {
		packet := bytesOf(t, wire)
		h, _, _ := mqtt.ReadHead(packet)
		if c, err := mqtt.ReadConnect(h, packet); err == nil || c.Version != want {
			t.Errorf("%s: version %d, %v", wire, c.Version, err)
		}
	}
}

// A refusal of a 3.1.1 broker is a failure like any other.
func TestReturnCodes(t *testing.T) {
	for code, want := range []mqtt.Code{
		mqtt.Success, mqtt.UnsupportedVersion, mqtt.ClientIDNotValid, mqtt.ServerUnavailable, mqtt.BadUserNameOrPassword, mqtt.NotAuthorized,
	} {
		h := mqtt.Head{Type: mqtt.CONNACK, Size: 2, Length: 2}
		c, err := mqtt.ReadConnack(mqtt.V311, h, []byte{0x20, 2, 0, byte(code)})
		if err != nil || c.Code != want || c.Code.Failed() != (code != 0) || c.Code.ReturnCode() != byte(code) {
			t.Errorf("return code %d is read as 0x%02X (%v) and written as %d", code, byte(c.Code), err, c.Code.ReturnCode())
		}
		if code != 1 {
			continue
		}
		if c, err := mqtt.ReadConnack(mqtt.V5, h, []byte{0x20, 2, 0, 1}); err != nil || c.Code != mqtt.UnsupportedVersion {
			t.Errorf("the refusal of a broker that does not speak 5.0 is read as %+v, %v", c, err)
		}
	}
	for code := range 256 {
		c := mqtt.Code(code)
		if (c.ReturnCode() != 0) != c.Failed() || c.ReturnCode() > 5 {
			t.Errorf("0x%02X has the return code %d", code, c.ReturnCode())
		}
	}
}

func TestFilters(t *testing.T) {
	for _, good := range []string{"#", "+", "/", "a/#", "+/+", "/+", "a//b", "sport/+/player1", "$share/g/#", "$share/g/+/x", "$share/g//", "$SYS/#", "é/+", "$sharp/a", "$share"} {
		if !mqtt.ValidFilter([]byte(good)) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", "a#", "#/a", "a/#/b", "a+", "+a", "a/+b", "a/b+/c", "##", "$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a", "$share/g/a#"} {
		if mqtt.ValidFilter([]byte(bad)) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// A PUBLISH can be judged before its payload is there, and is not before its properties are.
func TestPublishInPieces(t *testing.T) {
	whole := bytesOf(t, `32 14 0003 "a/b" 000A 08 26 0001 "k" 0002 "vw" "1234"`)
	h, _, _ := mqtt.ReadHead(whole)
	for n := h.Size; n <= len(whole); n++ {
		p, ok, err := mqtt.ReadPublish(mqtt.V5, mqtt.FromClient, h, whole[:n])
		if err != nil || ok != (n >= len(whole)-4) || ok && (p.Size != len(whole)-4 || string(p.Topic) != "a/b" || p.ID != 10) {
			t.Errorf("with %d bytes: %+v, %v, %v", n, p, ok, err)
		}
	}
}
