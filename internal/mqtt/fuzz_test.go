package mqtt_test

import (
	"bytes"
	"errors"
	"testing"

	"cardea/internal/mqtt"
)

// check is what holds for any bytes: nothing panics; an error is one of the protocol; what is accepted is written again
// with the same meaning, and its strings are inside the packet. It returns false if b does not begin with a whole head.
func check(t *testing.T, b []byte, v mqtt.Version, from mqtt.Side) bool {
	h, ok, err := mqtt.ReadHead(b)
	if err != nil || !ok {
		proper(t, err)
		return false
	}
	if h.Size < 2 || h.Size > 5 || h.Size > len(b) || h.Length < 0 || h.Length > mqtt.MaxLength {
		t.Fatalf("head %+v of % X", h, b)
	}
	if h.Type == mqtt.PUBLISH {
		checkPieces(t, h, b, v, from)
	}
	if len(b) < h.Total() {
		return true
	}
	// A slice without room behind it: whoever reads or appends beyond is found.
	packet := bytes.Clone(b[:h.Total()])
	packet = packet[:len(packet):len(packet)]
	again, meaning, err := reencode(v, from, packet)
	if err != nil {
		proper(t, err)
		return true
	}
	third, same, err := reencode(v, from, again)
	if err != nil || same != meaning || !bytes.Equal(third, again) {
		t.Fatalf("% X\nmeans %s\nis written % X\nwhich means %s (%v)", packet, meaning, again, same, err)
	}
	return true
}

// checkPieces makes sure that a PUBLISH is judged the same when its end has not come yet.
func checkPieces(t *testing.T, h mqtt.Head, b []byte, v mqtt.Version, from mqtt.Side) {
	b = b[:min(len(b), h.Total())]
	whole, ok, err := mqtt.ReadPublish(v, from, h, b)
	proper(t, err)
	if !ok || err != nil {
		return
	}
	if whole.Size < h.Size || whole.Size > len(b) {
		t.Fatalf("%+v of a packet of %d bytes", whole, len(b))
	}
	early, ok, err := mqtt.ReadPublish(v, from, h, b[:whole.Size])
	if err != nil || !ok || early.Size != whole.Size || !bytes.Equal(early.Topic, whole.Topic) || early.Alias != whole.Alias {
		t.Fatalf("without its payload it is %+v (%v, %v), with it %+v", early, ok, err, whole)
	}
	if _, ok, err := mqtt.ReadPublish(v, from, h, b[:whole.Size-1]); whole.Size > h.Size && whole.Size < h.Total() && (ok || err != nil) {
		t.Fatalf("a byte short of its properties' end it is judged: %v, %v", ok, err)
	}
}

func proper(t *testing.T, err error) {
	if err == nil {
		return
	}
	if e, is := errors.AsType[*mqtt.Error](err); !is || !e.Code.Failed() || e.Why == "" {
		t.Fatalf("an error that is none of the protocol: %v", err)
	}
}

// FuzzPacket reads any packet in both versions, as either side's (M10, M16, M23).
func FuzzPacket(f *testing.F) {
	for _, wire := range []string{
		`10 27 0004 "MQTT" 04 CE 000A 0004 "rcv1" 0003 "a/b" 0004 "gone" 0004 "user" 0004 "pass"`,
		`10 2E 0004 "MQTT" 05 CE 000A 05 11 0000000A 0004 "rcv1" 00 0003 "a/b" 0004 "gone" 0004 "user" 0004 "pass"`,
		`20 06 00 00 03 13 003C`, `20 02 00 05`, `32 08 0003 "a/b" 000A 00`, `30 07 0000 03 23 0001 "x"`, `30 0B 0003 "a/b" 05 0B 01 0B 80 02`,
		`32 14 0003 "a/b" 000A 08 26 0001 "k" 0002 "vw" "1234"`, `50 03 000A 87`, `62 02 000A`,
		`82 12 000A 03 0B 95 06 0003 "a/b" 01 0003 "c/d" 2E`, `82 0E 000A 0003 "a/b" 01 0003 "c/d" 02`, `82 06 000A 00 0001 "a"`,
		`90 05 000A 00 02 80`, `A2 0D 000A 00 0003 "a/b" 0003 "c/d"`, `B0 05 000A 00 00 11`, `C0 00`, `E0 07 00 05 11 0000000A`,
		`F0 0F 18 0D 15 0005 "SCRAM" 16 0002 FF00`, `30 FF FF FF FF 01`,
	} {
		f.Add(bytesOf(f, wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
			check(t, b, v, mqtt.FromClient)
			check(t, b, v, mqtt.FromServer)
		}
	})
}

// FuzzBody gives a body any bytes and each type of packet a fitting head, so that no run is lost to the fixed header.
func FuzzBody(f *testing.F) {
	f.Add(byte(mqtt.CONNECT), bytesOf(f, `0004 "MQTT" 05 CE 000A 05 11 0000000A 0004 "rcv1" 00 0003 "a/b" 0004 "gone" 0004 "user" 0004 "pass"`))
	f.Add(byte(mqtt.CONNACK), bytesOf(f, `00 00 03 13 003C`))
	f.Add(byte(mqtt.PUBLISH), bytesOf(f, `0003 "a/b" 000A 08 26 0001 "k" 0002 "vw" "1234"`))
	f.Add(byte(mqtt.PUBREC), bytesOf(f, `000A 87 04 1F 0001 "w"`))
	f.Add(byte(mqtt.SUBSCRIBE), bytesOf(f, `000A 03 0B 95 06 0003 "a/b" 01 0003 "c/d" 2E`))
	f.Add(byte(mqtt.SUBACK), bytesOf(f, `000A 00 00 11`))
	f.Add(byte(mqtt.UNSUBSCRIBE), bytesOf(f, `000A 00 0003 "a/b" 0003 "c/d"`))
	f.Add(byte(mqtt.DISCONNECT), bytesOf(f, `00 05 11 0000000A`))
	f.Add(byte(mqtt.AUTH), bytesOf(f, `18 0D 15 0005 "SCRAM" 16 0002 FF00`))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		flags := []byte{0}
		switch kind = kind & 15; mqtt.Type(kind) {
		case 0, mqtt.PINGREQ, mqtt.PINGRESP:
			return
		case mqtt.PUBLISH:
			flags = []byte{0, 3, 10, 12}
		case mqtt.PUBREL, mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE:
			flags[0] = 2
		}
		for _, fl := range flags {
			for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
				packet := frame(mqtt.Type(kind), fl, body)
				if !check(t, packet, v, mqtt.FromClient) || !check(t, packet, v, mqtt.FromServer) {
					t.Fatalf("the head of % X is refused", packet)
				}
			}
		}
	})
}

// FuzzProperties walks what is not known to be well formed.
func FuzzProperties(f *testing.F) {
	f.Add([]byte(mqtt.Properties(nil).AppendUser("name", "value").AppendNumber(mqtt.SessionExpiry, 10)))
	f.Add([]byte{0x26, 0, 1, 'a', 0xFF})
	f.Add([]byte{0xFF, 0x0B, 0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := mqtt.Properties(b)
		left := len(p)
		for one, rest, ok := p.Next(); ok; one, rest, ok = rest.Next() {
			if len(rest) >= left {
				t.Fatalf("%d bytes are left behind 0x%02X, %d were", len(rest), one.ID, left)
			}
			left = len(rest)
		}
		if kept := p.AppendWithout(nil, mqtt.UserProperty); len(kept) > len(p) {
			t.Fatalf("% X without something is % X", b, kept)
		}
	})
}

// FuzzFilter compares ValidFilter with the rules of 4.7.1 and 4.8.2, level by level.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"#", "a/+/b", "$share/g/#", "$share/+/a", "a#", "/"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := mqtt.ValidFilter(b), validFilter(string(b)); got != want {
			t.Fatalf("%q is a filter: %t", b, got)
		}
	})
}
