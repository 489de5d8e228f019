package grpcdoor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	cardeav1 "cardea/proto/cardea/v1"
)

// G01, G04: a path that is not exactly that of a method is refused, whoever asks; what the caller says of the authority changes nothing.
func TestRawRequests(t *testing.T) {
	w := newWorld(t)
	b, _ := w.key("pump-1")
	auth := hpack.HeaderField{Name: "authorization", Value: "Bearer " + b.Token.Secret.Reveal()}
	status, body := w.raw("/cardea.v1.Gate/WhoAmI", "admin.example", auth)
	var who cardeav1.WhoAmIResponse
	if status != "0" || len(body) < 5 || proto.Unmarshal(body[5:], &who) != nil || who.Principal != "pump-1" {
		t.Fatalf("a good request: status %s, %v", status, &who)
	}
	for _, path := range []string{
		"cardea.v1.Gate/WhoAmI", "//cardea.v1.Gate/WhoAmI", "/cardea.v1.Gate/WhoAmI/", "/cardea.v1.Gate//WhoAmI", "/CARDEA.V1.GATE/WhoAmI",
		"/cardea.v1.Gate/WhoAmI?x", "/cardea.v1.Gate/./WhoAmI", "/cardea.v1.Gate%2fWhoAmI", "/", "*", "x", "/cardea.v1.Gate",
		"grpc.health.v1.Health/Check",
	} {
		if status, _ := w.raw(path, w.addr, auth); status == "0" || status == "" {
			t.Errorf("%s: status %q", path, status)
		}
		if status, _ := w.raw(path, w.addr); status == "0" || status == "" {
			t.Errorf("%s without a credential: status %q", path, status)
		}
	}
}

// raw sends one call by frames and returns the grpc-status, "reset" if there was none, and the message.
func (w *world) raw(path, authority string, more ...hpack.HeaderField) (string, []byte) {
	w.Helper()
	conn, err := tls.Dial("tcp", w.addr, &tls.Config{RootCAs: w.roots, NextProtos: []string{"h2"}})
	w.must(err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Write([]byte(http2.ClientPreface))
	w.must(err)
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.must(f.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "https"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: authority},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	}, more...) {
		w.must(enc.WriteField(h))
	}
	w.must(f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}))
	w.must(f.WriteData(1, true, []byte{0, 0, 0, 0, 0}))
	return w.readRaw(f)
}

func (w *world) readRaw(f *http2.Framer) (status string, body []byte) {
	w.Helper()
	for {
		frame, err := f.ReadFrame()
		var stream http2.StreamError
		if err != nil && !errors.As(err, &stream) {
			return "reset", body
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range frame.Fields {
				if h.Name == "grpc-status" {
					status = h.Value
				}
			}
			if frame.StreamEnded() {
				return status, body
			}
		case *http2.DataFrame:
			body = append(body, frame.Data()...)
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset", body
		}
	}
}
