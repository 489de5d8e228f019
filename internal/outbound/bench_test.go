package outbound

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"cardea/internal/credential"
)

// BenchmarkAsk is the price of a question, beside that of a bare client of net/http that asks the same of the same
// server. Both include the server's part, which runs in this process.
func BenchmarkAsk(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, goodKeys)
	}))
	b.Cleanup(s.Close)
	login := &credential.Login{Username: "meter-0042", ClientID: "meter-0042"}

	b.Run("ask", func(b *testing.B) {
		source, err := New(Config{}).Open(credential.ByScramREST, &credential.Backend{
			URL: s.URL + "/scram", Body: map[string]any{"username": "${username}", "clientid": "${clientid}"},
		})
		if err != nil {
			b.Fatal(err)
		}
		defer source.Close()
		b.ReportAllocs()
		for b.Loop() {
			if a := source.Ask(context.Background(), login); a.Verdict != credential.Known {
				b.Fatal(a.Why)
			}
		}
	})
	b.Run("net-http", func(b *testing.B) {
		client := s.Client()
		body := []byte(`{"clientid":"meter-0042","username":"meter-0042"}`)
		b.ReportAllocs()
		for b.Loop() {
			answer, err := client.Post(s.URL+"/scram", "application/json", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
	})
}

// goodKeys is an answer as a service gives it.
var goodKeys = keysWith(`,"is_superuser":false`)

// A question costs this process less than one by a bare client of net/http, of which it may be 1.3 times with all else
// that a login is. Most of what is left is net/http's parsing of the answer.
func TestAllocations(t *testing.T) {
	url := rawServer(t, func(_ int, c net.Conn, in *bufio.Reader) {
		answer := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(goodKeys), goodKeys))
		var b [4096]byte
		for { // without allocations of its own, and the requests are smaller than this
			if _, err := in.Read(b[:]); err != nil {
				return
			}
			_, _ = c.Write(answer)
		}
	})
	s := open(t, credential.ByScramREST, credential.Backend{URL: url, Body: map[string]any{"username": "${username}"}})
	if n := testing.AllocsPerRun(500, func() { wantVerdict(t, s.Ask(context.Background(), someone), credential.Known) }); n > 20 && !racing {
		t.Errorf("%v allocations, want at most 20", n)
	}
}
