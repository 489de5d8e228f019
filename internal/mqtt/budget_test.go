package mqtt_test

import (
	"bytes"
	"fmt"
	"testing"

	"cardea/internal/mqtt"
)

// publish36 is the packet that the document of performance speaks of: a topic of 36 bytes, QoS 1, 256 bytes of payload.
func publish36() []byte {
	return mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{
		QoS: 1, ID: 7, Topic: []byte("plant/hall-7/line-03/press-12/status"),
	}, make([]byte, 256))
}

// Reading allocates nothing.
func TestAllocations(t *testing.T) {
	props := mqtt.Properties(nil).AppendNumber(mqtt.TopicAlias, 3).AppendUser("name", "value").AppendText(mqtt.ContentType, "text/plain")
	publish := mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{QoS: 1, ID: 7, Topic: []byte("a/ü/c"), Props: props}, make([]byte, 64))
	subscribe := mqtt.AppendSubscribe(nil, mqtt.V5, 9, nil, []mqtt.Filter{{Filter: []byte("a/+/#"), Options: 1}, {Filter: []byte("$share/g/b")}})
	connect := mqtt.AppendConnect(nil, &mqtt.Connect{
		Version: mqtt.V5, ClientID: []byte("c"), HasUser: true, User: []byte("u"), HasPassword: true, Password: []byte("p"),
		HasWill: true, Will: mqtt.Will{Topic: []byte("w"), Payload: []byte("m")},
	})
	suback := mqtt.AppendSuback(nil, mqtt.V5, mqtt.SUBACK, 9, nil, []byte{1, 0x87})
	puback := mqtt.AppendAck(nil, mqtt.V5, mqtt.PUBACK, 9, mqtt.NotAuthorized)
	buf := make([]byte, 0, 1024)
	for name, read := range map[string]func() bool{
		"ReadPublish": func() bool {
			h, _, _ := mqtt.ReadHead(publish)
			p, ok, err := mqtt.ReadPublish(mqtt.V5, mqtt.FromClient, h, publish)
			return ok && err == nil && p.Alias == 3
		},
		"ReadSubscribe": func() bool {
			h, _, _ := mqtt.ReadHead(subscribe)
			s, err := mqtt.ReadSubscribe(mqtt.V5, h, subscribe)
			valid := err == nil
			for f, rest, ok := s.Filters.Next(); ok; f, rest, ok = rest.Next() {
				valid = valid && mqtt.ValidFilter(f.Filter)
			}
			return valid
		},
		"ReadConnect": func() bool {
			h, _, _ := mqtt.ReadHead(connect)
			c, err := mqtt.ReadConnect(h, connect)
			return err == nil && c.HasWill
		},
		"ReadSuback and ReadAck": func() bool {
			h, _, _ := mqtt.ReadHead(suback)
			s, err := mqtt.ReadSuback(mqtt.V5, h, suback)
			h, _, _ = mqtt.ReadHead(puback)
			a, err2 := mqtt.ReadAck(mqtt.V5, h, puback)
			return err == nil && err2 == nil && len(s.Codes) == 2 && a.Code.Failed()
		},
		"Properties": func() bool {
			_, first := props.Number(mqtt.TopicAlias)
			last, _ := props.Text(mqtt.ContentType)
			return first && len(last) == 10 && len(props.AppendWithout(buf, mqtt.UserProperty)) < len(props)
		},
		"AppendPublish": func() bool {
			return len(mqtt.AppendPublish(buf, mqtt.V5, &mqtt.Publish{Topic: publish[4:8], Props: props}, nil)) > 0
		},
	} {
		if n := testing.AllocsPerRun(200, func() {
			if !read() {
				t.Errorf("%s does not read its packet", name)
			}
		}); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// The work grows with the bytes, whatever they are: no packet makes the reader go over them again (M16).
func TestManyOfEverything(t *testing.T) {
	const n = 100_000
	var user mqtt.Properties
	for i := range n {
		user = user.AppendUser(fmt.Sprint(i), "")
	}
	filters := make([]mqtt.Filter, n)
	for i := range filters {
		filters[i].Filter = fmt.Append(nil, "f/", i)
	}
	levels := bytes.Repeat([]byte("+/"), 10_000)
	levels = append(levels, '#')
	for what, packet := range map[string][]byte{
		"10^5 user properties": mqtt.AppendPublish(nil, mqtt.V5, &mqtt.Publish{Topic: []byte("t"), Props: user}, nil),
		"10^5 filters":         mqtt.AppendSubscribe(nil, mqtt.V5, 1, nil, filters),
		"10^4 levels":          mqtt.AppendSubscribe(nil, mqtt.V5, 1, nil, []mqtt.Filter{{Filter: levels}}),
	} {
		if allocs := testing.AllocsPerRun(1, func() {
			h, _, _ := mqtt.ReadHead(packet)
			if h.Type == mqtt.PUBLISH {
				if _, ok, err := mqtt.ReadPublish(mqtt.V5, mqtt.FromClient, h, packet); !ok || err != nil {
					t.Errorf("%s: %v", what, err)
				}
				return
			}
			s, err := mqtt.ReadSubscribe(mqtt.V5, h, packet)
			if one, _, _ := s.Filters.Next(); err != nil || !mqtt.ValidFilter(one.Filter) {
				t.Errorf("%s: %v", what, err)
			}
		}); allocs != 0 {
			t.Errorf("%s: %v allocations", what, allocs)
		}
	}
}

func BenchmarkReadPublish(b *testing.B) {
	packet := publish36()
	b.ReportAllocs()
	for b.Loop() {
		h, _, _ := mqtt.ReadHead(packet)
		if _, ok, err := mqtt.ReadPublish(mqtt.V5, mqtt.FromClient, h, packet); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
