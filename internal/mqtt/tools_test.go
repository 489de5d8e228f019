package mqtt_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"cardea/internal/mqtt"
)

// bytesOf reads hexadecimal digits with spaces and quoted text between them: `30 07 0003 "a/b"`.
func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	var out []byte
	for i, part := range strings.Split(text, `"`) {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		raw, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw...)
	}
	return out
}

// frame puts a fixed header in front of a body.
func frame(kind mqtt.Type, flags byte, body []byte) []byte {
	return append(mqtt.AppendHead(nil, kind, flags, len(body)), body...)
}

// reencode reads one whole packet and writes it again. meaning says all that was read, so that two
// packets with one meaning have the same text.
func reencode(v mqtt.Version, from mqtt.Side, packet []byte) (again []byte, meaning string, err error) {
	h, ok, err := mqtt.ReadHead(packet)
	if err != nil || !ok || len(packet) < h.Total() {
		return nil, "", fmt.Errorf("no whole packet: %w", err)
	}
	packet = packet[:h.Total()]
	switch h.Type {
	case mqtt.CONNECT:
		c, err := mqtt.ReadConnect(h, packet)
		if err != nil {
			return nil, "", err
		}
		return mqtt.AppendConnect(nil, &c), fmt.Sprintf("%+v", c), nil
	case mqtt.CONNACK:
		c, err := mqtt.ReadConnack(v, h, packet)
		if err != nil {
			return nil, "", err
		}
		return mqtt.AppendConnack(nil, v, &c), fmt.Sprintf("%+v", c), nil
	case mqtt.PUBLISH:
		p, ok, err := mqtt.ReadPublish(v, from, h, packet)
		if err != nil || !ok {
			return nil, "", fmt.Errorf("publish, whole %t: %w", ok, err)
		}
		payload := packet[p.Size:]
		again = mqtt.AppendPublish(nil, v, &p, payload)
		p.Size = 0 // depends on how the remaining length is written
		return again, fmt.Sprintf("%+v %x", p, payload), nil
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		a, err := mqtt.ReadAck(v, h, packet)
		if err != nil {
			return nil, "", err
		}
		return mqtt.AppendAck(nil, v, h.Type, a.ID, a.Code), fmt.Sprint(h.Type, a.ID, a.Code), nil
	case mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE:
		return reencodeFilters(v, h, packet)
	case mqtt.SUBACK, mqtt.UNSUBACK:
		s, err := mqtt.ReadSuback(v, h, packet)
		if err != nil {
			return nil, "", err
		}
		return mqtt.AppendSuback(nil, v, h.Type, s.ID, s.Props, s.Codes), fmt.Sprintf("%v %+v", h.Type, s), nil
	case mqtt.DISCONNECT, mqtt.AUTH:
		read, write := mqtt.ReadDisconnect, func(d mqtt.Disconnect) []byte { return mqtt.AppendDisconnect(nil, v, d.Code, d.Props) }
		if h.Type == mqtt.AUTH {
			read, write = mqtt.ReadAuth, func(d mqtt.Disconnect) []byte { return mqtt.AppendAuth(nil, d.Code, d.Props) }
		}
		d, err := read(v, h, packet)
		if err != nil {
			return nil, "", err
		}
		return write(d), fmt.Sprintf("%v %v %x", h.Type, d.Code, d.Props), nil
	}
	return mqtt.AppendPing(nil, h.Type), h.Type.String(), nil
}

func reencodeFilters(v mqtt.Version, h mqtt.Head, packet []byte) (again []byte, meaning string, err error) {
	read := mqtt.ReadSubscribe
	if h.Type == mqtt.UNSUBSCRIBE {
		read = mqtt.ReadUnsubscribe
	}
	s, err := read(v, h, packet)
	if err != nil {
		return nil, "", err
	}
	var filters []mqtt.Filter
	var names []string
	for f, rest, ok := s.Filters.Next(); ok; f, rest, ok = rest.Next() {
		filters, names = append(filters, f), append(names, string(f.Filter))
	}
	if len(filters) != s.Filters.Len() {
		return nil, "", fmt.Errorf("%d filters where Len says %d", len(filters), s.Filters.Len())
	}
	again = mqtt.AppendSubscribe(nil, v, s.ID, s.Props, filters)
	if h.Type == mqtt.UNSUBSCRIBE {
		again = mqtt.AppendUnsubscribe(nil, v, s.ID, s.Props, names)
	}
	return again, fmt.Sprintf("%v %d %x %v", h.Type, s.ID, s.Props, filters), nil
}
