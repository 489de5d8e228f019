package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"cardea/internal/intake"
	"cardea/internal/mqtt"
)

// ingest carries what is published to db/write/TABLE and db/append/TABLE into
// the tables of the sample service. It is a client of the MQTT door like any
// other: it has a credential of its own that may subscribe to these topics and do nothing else.
//
// It subscribes at QoS 1 in a session that outlives its connections, and acknowledges a message
// when its rows are on disk: what the broker has acknowledged to a publisher at
// QoS 1 gets there, once or, after a crash, twice.
type ingest struct {
	up    *upstream
	dial  func(context.Context) (net.Conn, error) // TCP or TLS
	token string                                  // "": the certificate of the TLS connection is the proof
	log   *slog.Logger

	told   *intake.Sampler[string] // what is wrong with messages, by reason
	failed bool                    // the last attempt did, and it was said
	once   sync.Once
	tried  chan struct{} // closed when the first attempt has succeeded or failed
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// ingestTopics are what is subscribed to; + is the table.
var ingestTopics = []mqtt.Filter{
	{Filter: []byte("db/write/+"), Options: 1},
	{Filter: []byte("db/append/+"), Options: 1},
}

const (
	ingestRetry   = 200 * time.Millisecond // the first pause after a failure; the following ones double
	ingestRetries = 10 * time.Second       // the longest
	ingestBatch   = 1000                   // messages in one transaction
)

// start lets it run until Close, and returns when the first attempt to subscribe has succeeded or failed.
func (in *ingest) start(ctx context.Context) {
	in.told = intake.NewSampler[string](time.Minute, 64)
	in.tried = make(chan struct{})
	var run context.Context
	run, in.stop = context.WithCancel(ctx)
	in.done.Go(func() { in.run(run) })
	<-in.tried
}

// Close ends it. What has not been stored stays in the broker's session.
func (in *ingest) Close() error {
	in.stop()
	in.done.Wait()
	return nil
}

func (in *ingest) run(ctx context.Context) {
	pause := ingestRetry
	for {
		began := time.Now()
		err := in.session(ctx)
		if ctx.Err() != nil {
			in.once.Do(func() { close(in.tried) })
			return
		}
		in.lost(err)
		if time.Since(began) > ingestRetries { // it has worked for a while
			pause = ingestRetry
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, ingestRetries)
	}
}

// lost says that nothing arrives, until something does again.
func (in *ingest) lost(err error) {
	if !in.failed {
		in.failed = true
		in.log.Warn("what is published by MQTT does not reach the sample service at the moment; it goes on trying", "error", err)
	}
	in.once.Do(func() { close(in.tried) })
}

func (in *ingest) subscribed() {
	in.failed = false
	in.log.Info("what is published to db/write/TABLE and db/append/TABLE goes to the sample service")
	in.once.Do(func() { close(in.tried) })
}

// session is one connection, from its beginning until it breaks or ctx ends.
func (in *ingest) session(ctx context.Context) error {
	conn, err := in.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	l := newMQTTLink(ctx, conn)
	defer l.stop()
	if err := l.connect(demoIngest, in.token); err != nil {
		return err
	}
	if err := l.write(mqtt.AppendSubscribe(nil, mqtt.V311, 1, nil, ingestTopics)); err != nil {
		return err
	}
	for {
		messages, err := in.receive(l)
		if err != nil {
			_ = l.write(mqtt.AppendDisconnect(nil, mqtt.V311, mqtt.Success, nil)) // the connection may be gone
			return err
		}
		if err := in.store(messages); err != nil {
			return err
		}
		if err := l.acknowledge(messages); err != nil {
			return err
		}
	}
}

// receive waits for a packet and takes what else has arrived by then. Of all this it returns the messages.
func (in *ingest) receive(l *mqttLink) (messages []message, err error) {
	for n := 0; n == 0 || n < ingestBatch && l.waiting(); n++ {
		h, packet, err := l.next()
		if err != nil {
			return nil, err
		}
		switch h.Type {
		case mqtt.PUBLISH:
			m, err := readMessage(h, packet)
			if err != nil {
				return nil, err
			}
			messages = append(messages, m)
		case mqtt.SUBACK:
			if err := allGranted(h, packet); err != nil {
				return nil, err
			}
			in.subscribed()
		case mqtt.PINGRESP:
		default:
			return nil, fmt.Errorf("the server has sent %v, which was not asked for", h.Type)
		}
	}
	return messages, nil
}

// store stores what is good of the messages, in one transaction. What is not is
// said and done with; an error means that all are to be delivered again.
func (in *ingest) store(messages []message) error {
	ctx, cancel := context.WithTimeout(context.Background(), queryPatience) // what has begun is finished
	defer cancel()
	var all []batch
	for _, m := range messages {
		if m.retained { // one that is kept for newcomers; it was stored when it was published
			continue
		}
		b, err := in.up.parse(m.table(), bytes.NewReader(m.payload))
		if err != nil {
			in.bad(m.topic, err)
			continue
		}
		all = append(all, b)
	}
	if len(all) == 0 {
		return nil
	}
	err := in.up.keep(ctx, all...)
	if !errors.Is(err, errTables) {
		return err
	}
	for _, b := range all { // one of them wants a table too many
		switch err := in.up.keep(ctx, b); {
		case errors.Is(err, errTables):
			in.bad(b.table, err)
		case err != nil:
			return err
		}
	}
	return nil
}

// bad says what is wrong with a message: its topic and why, and nothing of what it holds; once a minute for each reason.
func (in *ingest) bad(topic string, why error) {
	if similar, tell := in.told.Sample(why.Error()); tell {
		in.log.Warn("a message was not stored", "topic", topic[:min(len(topic), 100)], "reason", why.Error(), "similar", similar)
	}
}

// message is a PUBLISH.
type message struct {
	topic    string
	payload  []byte
	id       uint16 // 0 at QoS 0
	retained bool
}

func readMessage(h mqtt.Head, packet []byte) (message, error) {
	p, _, err := mqtt.ReadPublish(mqtt.V311, mqtt.FromServer, h, packet)
	if err != nil {
		return message{}, err
	}
	return message{topic: string(p.Topic), payload: packet[p.Size:], id: p.ID, retained: p.Retain}, nil
}

// table is the last level of the topic.
func (m *message) table() string { return m.topic[strings.LastIndexByte(m.topic, '/')+1:] }

func allGranted(h mqtt.Head, packet []byte) error {
	a, err := mqtt.ReadSuback(mqtt.V311, h, packet)
	if err != nil {
		return err
	}
	for _, c := range a.Codes {
		if mqtt.Code(c).Failed() {
			return errors.New("the server does not allow the subscription")
		}
	}
	return nil
}
