package mqtt_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/mqtt"
)

var (
	text  = rapid.Map(rapid.StringN(0, 40, 200), func(s string) string { return strings.ReplaceAll(s, "\x00", "0") })
	topic = rapid.Map(text, func(s string) string { return "t" + strings.NewReplacer("+", "p", "#", "h").Replace(s) })
	data  = rapid.SliceOfN(rapid.Byte(), 0, 300)
	id    = rapid.Uint16Min(1)
)

// drawPacket draws a packet of any type, as the Append functions write it, and says what it means in the words of reencode.
func drawPacket(t *rapid.T) (v mqtt.Version, from mqtt.Side, packet []byte, meaning string) {
	v = rapid.SampledFrom([]mqtt.Version{mqtt.V311, mqtt.V5}).Draw(t, "version")
	props := func(packet string) mqtt.Properties {
		if v < mqtt.V5 {
			return nil
		}
		return drawProperties(t, packet)
	}
	kind := rapid.SampledFrom([]mqtt.Type{
		mqtt.CONNECT, mqtt.CONNACK, mqtt.PUBLISH, mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP, mqtt.SUBSCRIBE,
		mqtt.SUBACK, mqtt.UNSUBSCRIBE, mqtt.UNSUBACK, mqtt.PINGREQ, mqtt.PINGRESP, mqtt.DISCONNECT, mqtt.AUTH,
	}).Draw(t, "type")
	code := mqtt.Code(rapid.Byte().Draw(t, "code"))
	switch kind {
	case mqtt.CONNECT:
		c := drawConnect(t, v, props)
		return v, mqtt.FromClient, mqtt.AppendConnect(nil, &c), fmt.Sprintf("%+v", c)
	case mqtt.CONNACK:
		c := mqtt.Connack{SessionPresent: rapid.Bool().Draw(t, "present"), Code: code, Props: props("CONNACK")}
		packet = mqtt.AppendConnack(nil, v, &c)
		if v < mqtt.V5 {
			c.Code = []mqtt.Code{0, mqtt.UnsupportedVersion, mqtt.ClientIDNotValid, mqtt.ServerUnavailable, mqtt.BadUserNameOrPassword, mqtt.NotAuthorized}[code.ReturnCode()]
		}
		return v, mqtt.FromServer, packet, fmt.Sprintf("%+v", c)
	case mqtt.PUBLISH:
		return drawPublish(t, v)
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		id := id.Draw(t, "id")
		packet = mqtt.AppendAck(nil, v, kind, id, code)
		if v < mqtt.V5 {
			code = mqtt.Success
		}
		return v, mqtt.FromClient, packet, fmt.Sprint(kind, id, code)
	case mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE:
		return drawFilters(t, v, kind, props(kind.String()))
	case mqtt.SUBACK, mqtt.UNSUBACK:
		s := mqtt.Suback{ID: id.Draw(t, "id"), Props: props(kind.String()), Codes: rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(t, "codes")}
		packet = mqtt.AppendSuback(nil, v, kind, s.ID, s.Props, s.Codes)
		if v < mqtt.V5 && kind == mqtt.UNSUBACK {
			s.Codes = nil
		}
		return v, mqtt.FromServer, packet, fmt.Sprintf("%v %+v", kind, s)
	case mqtt.DISCONNECT:
		p := props("DISCONNECT")
		packet = mqtt.AppendDisconnect(nil, v, code, p)
		if v < mqtt.V5 {
			code = 0
		}
		return v, mqtt.FromClient, packet, fmt.Sprintf("%v %v %x", kind, code, p)
	case mqtt.AUTH:
		p := drawProperties(t, "AUTH")
		return mqtt.V5, mqtt.FromClient, mqtt.AppendAuth(nil, code, p), fmt.Sprintf("%v %v %x", kind, code, p)
	}
	return v, mqtt.FromClient, mqtt.AppendPing(nil, kind), kind.String()
}

func drawConnect(t *rapid.T, v mqtt.Version, props func(string) mqtt.Properties) mqtt.Connect {
	c := mqtt.Connect{
		Version: v, CleanStart: rapid.Bool().Draw(t, "clean"), KeepAlive: rapid.Uint16().Draw(t, "keep alive"),
		Props: props("CONNECT"), ClientID: []byte(text.Draw(t, "client id")),
	}
	if c.HasWill = rapid.Bool().Draw(t, "will"); c.HasWill {
		c.Will = mqtt.Will{
			QoS: rapid.ByteMax(2).Draw(t, "qos"), Retain: rapid.Bool().Draw(t, "retain"), Props: props("WILL"),
			Topic: []byte(topic.Draw(t, "topic")), Payload: data.Draw(t, "payload"),
		}
	}
	if c.HasUser = rapid.Bool().Draw(t, "user"); c.HasUser {
		c.User = []byte(text.Draw(t, "user name"))
	}
	if c.HasPassword = (c.HasUser || v == mqtt.V5) && rapid.Bool().Draw(t, "password"); c.HasPassword {
		c.Password = data.Draw(t, "secret")
	}
	return c
}

func drawPublish(t *rapid.T, v mqtt.Version) (mqtt.Version, mqtt.Side, []byte, string) {
	p := mqtt.Publish{
		QoS: rapid.ByteMax(2).Draw(t, "qos"), Retain: rapid.Bool().Draw(t, "retain"), Topic: []byte(topic.Draw(t, "topic")),
	}
	if p.QoS > 0 {
		p.ID, p.Dup = id.Draw(t, "id"), rapid.Bool().Draw(t, "dup")
	}
	from := mqtt.Side(rapid.Bool().Draw(t, "from the server"))
	if v == mqtt.V5 {
		p.Props = drawProperties(t, map[mqtt.Side]string{mqtt.FromClient: "PUBLISH", mqtt.FromServer: "DELIVERY"}[from])
		alias, has := p.Props.Number(mqtt.TopicAlias)
		if p.Alias = uint16(alias); has && rapid.Bool().Draw(t, "alias alone") {
			p.Topic = nil
		}
	}
	payload := data.Draw(t, "payload")
	return v, from, mqtt.AppendPublish(nil, v, &p, payload), fmt.Sprintf("%+v %x", p, payload)
}

func drawFilters(t *rapid.T, v mqtt.Version, kind mqtt.Type, p mqtt.Properties) (mqtt.Version, mqtt.Side, []byte, string) {
	var filters []mqtt.Filter
	var names []string
	for range rapid.IntRange(1, 5).Draw(t, "filters") {
		f := mqtt.Filter{Filter: []byte(text.Draw(t, "filter"))}
		names = append(names, string(f.Filter))
		if kind == mqtt.SUBSCRIBE {
			f.Options = mqtt.Options(rapid.ByteMax(2).Draw(t, "qos"))
		}
		if kind == mqtt.SUBSCRIBE && v == mqtt.V5 {
			f.Options |= mqtt.Options(rapid.ByteMax(3).Draw(t, "local, retain")<<2 | rapid.ByteMax(2).Draw(t, "handling")<<4)
		}
		filters = append(filters, f)
	}
	id := id.Draw(t, "id")
	packet := mqtt.AppendSubscribe(nil, v, id, p, filters)
	if kind == mqtt.UNSUBSCRIBE {
		packet = mqtt.AppendUnsubscribe(nil, v, id, p, names)
	}
	return v, mqtt.FromClient, packet, fmt.Sprintf("%v %d %x %v", kind, id, p, filters)
}

// What is written is read as it was meant.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, from, packet, want := drawPacket(t)
		again, got, err := reencode(v, from, packet)
		if err != nil {
			t.Fatalf("% X: %v", packet, err)
		}
		// empty and nil are the same on the wire
		if same := func(s string) string { return strings.ReplaceAll(s, "<nil>", "[]") }; same(got) != same(want) {
			t.Fatalf("% X\nmeans %s\nwant  %s", packet, got, want)
		}
		if !bytes.Equal(again, packet) {
			t.Fatalf("% X\nwritten again as % X", packet, again)
		}
	})
}

// A string that is too long is cut: the rest must not be read as the fields behind it (M10).
func TestLongStringsAreCut(t *testing.T) {
	long := bytes.Repeat([]byte("x"), mqtt.MaxText+9)
	for _, packet := range [][]byte{
		mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, ClientID: long, HasWill: true, Will: mqtt.Will{Topic: long, Payload: long}, HasUser: true, User: long, HasPassword: true, Password: long}),
		mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: long, Props: mqtt.Properties(nil).AppendText(mqtt.ContentType, string(long))}, long),
		mqtt.AppendSubscribe(nil, mqtt.V311, 1, nil, []mqtt.Filter{{Filter: long, Options: 1}, {Filter: long}}),
		mqtt.AppendUnsubscribe(nil, mqtt.V5, 1, mqtt.Properties(nil).AppendUser(string(long), string(long)), []string{string(long), "b"}),
	} {
		again, _, err := reencode(version(packet), mqtt.FromClient, packet)
		if err != nil || !bytes.Equal(again, packet) {
			t.Errorf("a packet of type %d with long strings: %v", packet[0]>>4, err)
		}
	}
}

// version is the one that TestLongStringsAreCut writes a type of packet in.
func version(packet []byte) mqtt.Version {
	if mqtt.Type(packet[0]>>4) == mqtt.SUBSCRIBE {
		return mqtt.V311
	}
	return mqtt.V5
}
