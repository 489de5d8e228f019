package mqtt_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cardea/internal/mqtt"
)

// propertyRow is a line of the standard's table 2-4.
type propertyRow struct {
	id   mqtt.PropertyID
	kind string // of its value
	in   string // the packets that may hold it
}

var propertyTable = []propertyRow{
	{0x01, "byte", "PUBLISH WILL"},
	{0x02, "uint32", "PUBLISH WILL"},
	{0x03, "text", "PUBLISH WILL"},
	{0x08, "text", "PUBLISH WILL"},
	{0x09, "data", "PUBLISH WILL"},
	{0x0B, "varint", "DELIVERY SUBSCRIBE"},
	{0x11, "uint32", "CONNECT CONNACK DISCONNECT"},
	{0x12, "text", "CONNACK"},
	{0x13, "uint16", "CONNACK"},
	{0x15, "text", "CONNECT CONNACK AUTH"},
	{0x16, "data", "CONNECT CONNACK AUTH"},
	{0x17, "byte", "CONNECT"},
	{0x18, "uint32", "WILL"},
	{0x19, "byte", "CONNECT"},
	{0x1A, "text", "CONNACK"},
	{0x1C, "text", "CONNACK DISCONNECT"},
	{0x1F, "text", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"},
	{0x21, "uint16", "CONNECT CONNACK"},
	{0x22, "uint16", "CONNECT CONNACK"},
	{0x23, "uint16", "PUBLISH"},
	{0x24, "byte", "CONNACK"},
	{0x25, "byte", "CONNACK"},
	{0x26, "pair", "CONNECT CONNACK PUBLISH WILL PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK DISCONNECT AUTH"},
	{0x27, "uint32", "CONNECT CONNACK"},
	{0x28, "byte", "CONNACK"},
	{0x29, "byte", "CONNACK"},
	{0x2A, "byte", "CONNACK"},
}

func (r propertyRow) may(packet string) bool {
	return slices.Contains(strings.Fields(r.in), packet) || packet == "DELIVERY" && slices.Contains(strings.Fields(r.in), "PUBLISH")
}

// value appends one with a value that it may have.
func (r propertyRow) value(p mqtt.Properties) mqtt.Properties {
	switch r.kind {
	case "text", "data":
		return p.AppendText(r.id, "v")
	case "pair":
		return p.AppendUser("n", "v")
	}
	return p.AppendNumber(r.id, 1)
}

var holders = strings.Fields("CONNECT WILL CONNACK PUBLISH DELIVERY PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK DISCONNECT AUTH")

// holder is a packet of version 5 with the properties given.
func holder(name string, p mqtt.Properties) (mqtt.Side, []byte) {
	props := append([]byte{byte(len(p))}, p...)
	if len(p) >= 128 {
		props = append([]byte{byte(len(p)) | 128, byte(len(p) >> 7)}, p...)
	}
	ack := append([]byte{0, 10, 0}, props...)
	switch name {
	case "CONNECT":
		return mqtt.FromClient, mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, Props: p})
	case "WILL":
		return mqtt.FromClient, mqtt.AppendConnect(nil, &mqtt.Connect{Version: mqtt.V5, HasWill: true, Will: mqtt.Will{Topic: []byte("t"), Props: p}})
	case "CONNACK":
		return mqtt.FromServer, mqtt.AppendConnack(nil, mqtt.V5, &mqtt.Connack{Props: p})
	case "PUBLISH":
		return mqtt.FromClient, mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("t"), Props: p}, nil)
	case "DELIVERY":
		return mqtt.FromServer, mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("t"), Props: p}, nil)
	case "PUBACK":
		return mqtt.FromServer, frame(mqtt.PUBACK, 0, ack)
	case "PUBREC":
		return mqtt.FromServer, frame(mqtt.PUBREC, 0, ack)
	case "PUBREL":
		return mqtt.FromServer, frame(mqtt.PUBREL, 2, ack)
	case "PUBCOMP":
		return mqtt.FromServer, frame(mqtt.PUBCOMP, 0, ack)
	case "SUBSCRIBE":
		return mqtt.FromClient, mqtt.AppendSubscribe(nil, mqtt.V5, 10, p, []mqtt.Filter{{Filter: []byte("a")}})
	case "SUBACK":
		return mqtt.FromServer, mqtt.AppendSuback(nil, mqtt.V5, mqtt.SUBACK, 10, p, []byte{0})
	case "UNSUBSCRIBE":
		return mqtt.FromClient, mqtt.AppendUnsubscribe(nil, mqtt.V5, 10, p, []string{"a"})
	case "UNSUBACK":
		return mqtt.FromServer, mqtt.AppendSuback(nil, mqtt.V5, mqtt.UNSUBACK, 10, p, []byte{0})
	case "DISCONNECT":
		return mqtt.FromClient, mqtt.AppendDisconnect(nil, mqtt.V5, mqtt.Unspecified, p)
	default:
		return mqtt.FromClient, mqtt.AppendAuth(nil, mqtt.ContinueAuthentication, p)
	}
}

// Each property is accepted in exactly the packets of the table, and but for user properties and the identifiers of
// several subscriptions only once.
func TestPropertiesOfPackets(t *testing.T) {
	accepted := func(name string, p mqtt.Properties) bool {
		if p = bytes.Clone(p); strings.HasPrefix(string(p), "\x16") { // authentication data need their method (3.1.2.11.10)
			p = p.AppendText(mqtt.AuthenticationMethod, "m")
		}
		side, packet := holder(name, p)
		_, _, err := reencode(mqtt.V5, side, packet)
		return err == nil
	}
	for id := range 256 {
		i := slices.IndexFunc(propertyTable, func(r propertyRow) bool { return r.id == mqtt.PropertyID(id) })
		for _, name := range holders {
			if i < 0 {
				if accepted(name, mqtt.Properties{byte(id), 0, 0, 0, 0, 0, 0}) {
					t.Errorf("%s takes property 0x%02X, which is none", name, id)
				}
				continue
			}
			row := propertyTable[i]
			if once := accepted(name, row.value(nil)); once != row.may(name) {
				t.Errorf("%s takes property 0x%02X: %t", name, id, once)
			}
			many := row.id == mqtt.UserProperty || row.id == mqtt.SubscriptionIdentifier && name == "DELIVERY"
			if twice := accepted(name, row.value(row.value(nil))); twice != (many && row.may(name)) {
				t.Errorf("%s takes property 0x%02X twice: %t", name, id, twice)
			}
		}
	}
}

func TestValuesOfProperties(t *testing.T) {
	for _, c := range []struct{ in, wire, why string }{
		{"CONNECT", "21 0000", "Receive Maximum 0 (3.1.2.11.3)"},
		{"CONNECT", "27 00000000", "Maximum Packet Size 0 (3.1.2.11.4)"},
		{"CONNECT", "17 02", "Request Problem Information 2 (3.1.2.11.7)"},
		{"CONNECT", `16 0001 "x"`, "data without a method (3.1.2.11.10)"},
		{"CONNACK", "24 02", "Maximum QoS 2 (3.2.2.3.4)"},
		{"CONNACK", "25 02", "Retain Available 2 (3.2.2.3.5)"},
		{"PUBLISH", "01 02", "Payload Format Indicator 2"},
		{"PUBLISH", "03 0001 00", "a NUL in Content Type"},
		{"PUBLISH", "03 0002 C328", "Content Type that is not UTF-8"},
		{"PUBLISH", "26 0001 C3 0000", "a user property's name that is not UTF-8"},
		{"PUBLISH", "26 0000 0001 C3", "a user property's value that is not UTF-8"},
		{"PUBLISH", "26 0001 61 0002 61", "a user property that ends too early"},
		{"PUBLISH", "02 000000", "a number that ends too early"},
		{"SUBSCRIBE", "0B 00", "Subscription Identifier 0 (3.8.2.1.2)"},
		{"SUBSCRIBE", "0B FF FF FF FF 01", "Subscription Identifier of five bytes"},
		{"SUBSCRIBE", "0B 81 00", "Subscription Identifier with a byte too many (MQTT-1.5.5-1)"},
	} {
		side, packet := holder(c.in, bytesOf(t, c.wire))
		if _, _, err := reencode(mqtt.V5, side, packet); err == nil {
			t.Errorf("%s is accepted", c.why)
		}
	}
}

// drawProperties draws properties that a packet may have.
func drawProperties(t *rapid.T, packet string) (p mqtt.Properties) {
	for _, row := range propertyTable {
		if !row.may(packet) || !rapid.Bool().Draw(t, "has") {
			continue
		}
		for range rapid.IntRange(1, repeats(row.id, packet)).Draw(t, "times") {
			p = drawProperty(t, p, row)
		}
	}
	if _, has := p.Text(mqtt.AuthenticationData); has {
		if _, has := p.Text(mqtt.AuthenticationMethod); !has {
			p = p.AppendText(mqtt.AuthenticationMethod, "SCRAM-SHA-256")
		}
	}
	return p
}

func repeats(id mqtt.PropertyID, packet string) int {
	if id == mqtt.UserProperty || id == mqtt.SubscriptionIdentifier && packet == "DELIVERY" {
		return 3
	}
	return 1
}

func drawProperty(t *rapid.T, p mqtt.Properties, row propertyRow) mqtt.Properties {
	switch row.kind {
	case "byte":
		return p.AppendNumber(row.id, rapid.Uint32Range(0, 1).Draw(t, "byte"))
	case "uint16":
		return p.AppendNumber(row.id, uint32(rapid.Uint16Min(1).Draw(t, "number")))
	case "uint32":
		return p.AppendNumber(row.id, rapid.Uint32Min(1).Draw(t, "number"))
	case "varint":
		return p.AppendNumber(row.id, rapid.Uint32Range(1, mqtt.MaxLength).Draw(t, "number"))
	case "pair":
		return p.AppendUser(text.Draw(t, "name"), text.Draw(t, "value"))
	case "data":
		return p.AppendText(row.id, string(data.Draw(t, "data")))
	}
	return p.AppendText(row.id, topic.Draw(t, "text")) // a response topic has no wildcards
}

// What is left out is not there, and the rest is as it was.
func TestAppendWithout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProperties(t, rapid.SampledFrom(holders).Draw(t, "packet"))
		drop := rapid.SampledFrom(propertyTable).Draw(t, "dropped").id
		var want []string
		for one, rest, ok := p.Next(); ok; one, rest, ok = rest.Next() {
			if one.ID != drop {
				want = append(want, fmt.Sprintf("%+v", one))
			}
		}
		var got []string
		left := p.AppendWithout(mqtt.Properties("in front"), drop)
		if !bytes.HasPrefix(left, []byte("in front")) {
			t.Fatalf("what was there is now %q", left)
		}
		left = left[len("in front"):]
		for one, rest, ok := left.Next(); ok; one, rest, ok = rest.Next() {
			got = append(got, fmt.Sprintf("%+v", one))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("without 0x%02X: %v, want %v", drop, got, want)
		}
		if _, has := left.Number(drop); has {
			t.Fatalf("0x%02X is still there", drop)
		}
	})
}
