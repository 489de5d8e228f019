//go:build bench

package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardea/internal/mqtt"
	"cardea/internal/testkit"
)

// scramTarget is a server with users who log in by SCRAM.
type scramTarget struct {
	addr   string
	pid    int
	method string
	users  []scramUser
}

type scramUser struct {
	id     string // that the client id begins with
	client *testkit.ScramClient
}

func (m *scramTarget) props(data []byte) mqtt.Properties {
	return mqtt.Properties(nil).AppendText(mqtt.AuthenticationMethod, m.method).AppendText(mqtt.AuthenticationData, string(data))
}

// begin sends the CONNECT of the n-th client and takes the server's challenge.
func (m *scramTarget) begin(k *mqttConn, n int, first []byte) (challenge []byte, err error) {
	c := mqtt.Connect{
		Version: mqtt.V5, CleanStart: true, ClientID: fmt.Appendf(nil, "%s:%d", m.users[n%len(m.users)].id, n), Props: m.props(first),
	}
	if _, err := k.Write(mqtt.AppendConnect(nil, &c)); err != nil {
		return nil, err
	}
	h, p, err := k.next()
	if err != nil {
		return nil, err
	}
	if h.Type != mqtt.AUTH {
		return nil, fmt.Errorf("%v instead of a challenge: %x", h.Type, p)
	}
	a, err := mqtt.ReadAuth(mqtt.V5, h, p)
	if err != nil {
		return nil, err
	}
	challenge, _ = a.Props.Text(mqtt.AuthenticationData)
	return challenge, nil
}

// dial logs in as the n-th client. One user's logins must not overlap.
func (m *scramTarget) dial(n int) (*mqttConn, error) {
	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		return nil, err
	}
	k := &mqttConn{Conn: conn, buf: make([]byte, 4<<10)}
	if err := m.prove(k, n); err != nil {
		conn.Close()
		return nil, err
	}
	return k, nil
}

func (m *scramTarget) prove(k *mqttConn, n int) error {
	user := m.users[n%len(m.users)].client
	challenge, err := m.begin(k, n, user.First())
	if err != nil {
		return err
	}
	final, err := user.Final(challenge)
	if err != nil {
		return err
	}
	if _, err := k.Write(mqtt.AppendAuth(nil, mqtt.ContinueAuthentication, m.props(final))); err != nil {
		return err
	}
	h, p, err := k.next()
	if err != nil {
		return err
	}
	ack, err := mqtt.ReadConnack(mqtt.V5, h, p)
	if err == nil && ack.Code != mqtt.Success {
		err = fmt.Errorf("CONNACK 0x%02X", byte(ack.Code))
	}
	return err
}

// leave says good-bye and waits until the server has closed, which then keeps the port that waits.
func (k *mqttConn) leave() {
	_, _ = k.Write(mqtt.AppendDisconnect(nil, mqtt.V5, mqtt.Success, nil))
	_, _ = io.Copy(io.Discard, k)
	k.Close()
}

// logins logs in and out for a time, everybody at least once, and returns the server's CPU for each in microseconds.
func logins(t *testing.T, d time.Duration, pid int, dial func(n int) (*mqttConn, error)) (cpu float64) {
	t.Helper()
	var n atomic.Int64
	before, end := cpuOf(t, []int{pid}), time.Now().Add(d)
	var all sync.WaitGroup
	for w := range loginWorkers {
		all.Go(func() {
			for i := w; i < loginUsers || time.Now().Before(end); i += loginWorkers {
				k, err := dial(i)
				if err != nil {
					t.Error(err)
					return
				}
				k.leave()
				n.Add(1)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return float64((cpuOf(t, []int{pid}) - before).Microseconds()) / float64(n.Load())
}

// latencyWorkers is so few that a login waits for the server, and not for its turn.
const latencyWorkers = 2

// latencies logs in and out for a time and returns how long each login took, in milliseconds.
func (m *scramTarget) latencies(t *testing.T, d time.Duration) []float64 {
	t.Helper()
	took := make([][]float64, latencyWorkers)
	end := time.Now().Add(d)
	var all sync.WaitGroup
	for w := range latencyWorkers {
		all.Go(func() {
			for i := w; time.Now().Before(end); i += latencyWorkers {
				start := time.Now()
				k, err := m.dial(i)
				if err != nil {
					t.Error(err)
					return
				}
				took[w] = append(took[w], float64(time.Since(start).Microseconds())/1000)
				k.leave()
			}
		})
	}
	all.Wait()
	return append(took[0], took[1]...)
}

// flood is handshakes that stop after the challenge.
type flood struct {
	gone atomic.Int64
	all  sync.WaitGroup
	took []float64 // seconds from the beginning to the closed connection
}

// flood opens them, each from an address of its own in 127.0.0.0/8; every other one asks for a user that does not exist.
func (m *scramTarget) flood(t *testing.T, n int) *flood {
	t.Helper()
	f := &flood{took: make([]float64, n)}
	var opening sync.WaitGroup
	for w := range loginWorkers {
		opening.Go(func() {
			for i := w; i < n; i += loginWorkers {
				start := time.Now()
				k, err := m.stall(i)
				if err != nil {
					t.Error(err)
					return
				}
				f.all.Go(func() {
					_, _ = io.Copy(io.Discard, k.Conn)
					f.took[i] = time.Since(start).Seconds()
					f.gone.Add(1)
					k.Close()
				})
			}
		})
	}
	opening.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return f
}

// stall begins the n-th handshake.
func (m *scramTarget) stall(n int) (*mqttConn, error) {
	from := net.IPv4(127, byte(1+n/250/250), byte(n/250%250), byte(1+n%250))
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp", m.addr)
	if err != nil {
		return nil, err
	}
	k := &mqttConn{Conn: conn, buf: make([]byte, 512)}
	user := fmt.Sprintf("device-%d-sha256", n%len(m.users))
	if n%2 == 0 {
		user = fmt.Sprintf("nobody-%d", n)
	}
	if _, err := m.begin(k, n, []byte("n,,n="+user+",r=half-open")); err != nil {
		conn.Close()
		return nil, err
	}
	k.buf = nil
	return k, nil
}

// wait waits until the server has closed them all.
func (f *flood) wait(t *testing.T) []float64 {
	t.Helper()
	done := make(chan struct{})
	go func() { f.all.Wait(); close(done) }()
	select {
	case <-done:
		return f.took
	case <-time.After(time.Minute):
		t.Fatalf("after a minute %d of %d half-open handshakes are gone", f.gone.Load(), len(f.took))
		return nil
	}
}

// serveAsker is a role of this binary: a bare client of net/http. Asked for /ask?for=DURATION it asks a URL as [mqttServer.ask] has
// the server do it, by as many goroutines as there are who log in, and answers how many times.
func serveAsker(url string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loginWorkers, DisableCompression: true}}
	serveBare(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("for"))
		if err != nil {
			panic(err)
		}
		var n atomic.Int64
		end := time.Now().Add(d)
		var all sync.WaitGroup
		for at := range loginWorkers {
			all.Go(func() {
				for i := at; time.Now().Before(end); i += loginWorkers {
					resp, err := client.Post(url, "application/json", strings.NewReader(askedBody("guest-"+strconv.Itoa(i%loginUsers))))
					if err != nil {
						panic(err)
					}
					if _, err := io.ReadAll(resp.Body); err != nil {
						panic(err)
					}
					resp.Body.Close()
					n.Add(1)
				}
			})
		}
		all.Wait()
		fmt.Fprint(w, n.Load())
	}))
}

// asks returns the CPU of an asker for each request in microseconds.
func (p process) asks(t *testing.T, d time.Duration) float64 {
	t.Helper()
	before := cpuOf(t, []int{p.pid})
	resp, err := http.Get("http://" + p.addr + "/ask?for=" + d.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil || n == 0 {
		t.Fatalf("it asked %q times: %v", raw, err)
	}
	return float64((cpuOf(t, []int{p.pid}) - before).Microseconds()) / float64(n)
}
