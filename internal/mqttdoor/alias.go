package mqttdoor

import (
	"sync/atomic"

	"cardea/internal/mqtt"
)

// aliases are the topics that aliases stand for in one direction (3.3.2.3.4).
// The receiver of a direction knows only those that reached it: one that the
// door did not let through is known here and not there.
type aliases struct {
	most   atomic.Uint32 // the highest alias that may be used
	topics []alias
}

type alias struct {
	topic string
	known bool // at the other side of the door
}

var errAlias = &mqtt.Error{Code: mqtt.TopicAliasInvalid, Why: "a topic alias is above the maximum, or stands for nothing"}

// resolve returns the topic of a PUBLISH with an alias. It is the same memory for as long as the alias stands for it.
func (a *aliases) resolve(p *mqtt.Publish) (*alias, error) {
	if uint32(p.Alias) > a.most.Load() {
		return nil, errAlias
	}
	n := int(p.Alias)
	if n > len(a.topics) {
		if len(p.Topic) == 0 {
			return nil, errAlias
		}
		a.topics = append(a.topics, make([]alias, n-len(a.topics))...)
	}
	one := &a.topics[n-1]
	if len(p.Topic) > 0 {
		if string(p.Topic) != one.topic {
			one.topic = string(p.Topic)
		}
		one.known = false
	}
	if one.topic == "" {
		return nil, errAlias
	}
	return one, nil
}
