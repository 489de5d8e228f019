package httpdoor

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

// client returns an HTTPS client with a certificate, or none; protocols "h2" or "http/1.1".
func (h *house) client(cert *tls.Certificate, protocol string) *http.Client {
	c := &tls.Config{RootCAs: h.roots(), NextProtos: []string{protocol}}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	tr := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: protocol == "h2"}
	h.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (h *house) get(c *http.Client, path string, headers ...string) (answered, error) {
	h.Helper()
	req, err := http.NewRequest("GET", "https://"+h.addr+path, nil)
	h.must(err)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answered{resp, string(text)}, err
}

// HTTPS with the internal CA, over both versions: tokens, certificates, both, neither. No -k is needed.
func TestHTTPS(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	token := h.token("pump")
	_, cert := h.certificate("cam", time.Hour)
	own, err := h.authority.CreateCredential(t.Context(), h.local, authority.NewCredential{Kind: credential.DeviceToken, Principal: "cam", TTL: time.Hour})
	h.must(err)
	for _, protocol := range []string{"http/1.1", "h2"} {
		with, without := h.client(&cert, protocol), h.client(nil, protocol)
		for name, tc := range map[string]struct {
			client  *http.Client
			headers []string
			status  int
			who     string
		}{
			"token":                      {without, []string{bearer(token)}, 200, "pump"},
			"certificate":                {with, nil, 200, "cam"},
			"token bound to certificate": {with, []string{bearer(own)}, 200, "cam"},
			"somebody else's token":      {with, []string{bearer(token)}, 401, ""},
			"wrong token":                {with, []string{"Authorization: Bearer x"}, 401, ""},
			"nothing":                    {without, nil, 401, ""},
		} {
			a, err := h.get(tc.client, "/db/x", tc.headers...)
			h.must(err)
			got := up.got()
			if a.StatusCode != tc.status || protocol == "h2" != (a.ProtoMajor == 2) {
				t.Errorf("%s, %s: %s %d %s", protocol, name, a.Proto, a.StatusCode, a.text)
			}
			if tc.status == 200 && (got[0].header.Get("X-Cardea-Principal") != tc.who || got[0].header.Get("X-Forwarded-Proto") != "https") {
				t.Errorf("%s, %s: the upstream got %v", protocol, name, got)
			}
		}
	}
	// A certificate of the door's own client proves nothing to /auth, nor does one without rights to the gateway.
	if a, err := h.get(h.client(&cert, "h2"), "/auth", "X-Original-Method: GET", "X-Original-URI: /db/x"); err != nil || a.StatusCode != 403 {
		t.Errorf("/auth: %v %d", err, a.StatusCode)
	}
}

// The documented session: curl with --cacert alone, with a certificate, a token and neither.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is needed for this test; `make test` installs it")
	}
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	is, _ := h.certificate("cam", time.Hour)
	token := h.token("pump")
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		h.must(os.WriteFile(path, content, 0o600))
		return path
	}
	ca, crt, key := file("ca.pem", h.authority.TrustAnchor()), file("crt.pem", is.Certificate), file("key.pem", []byte(is.PrivateKey.Reveal()))
	headers := file("token", []byte(bearer(token)))
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"certificate": {[]string{"--cert", crt, "--key", key}, "upstream 200"},
		"token":       {[]string{"-H", "@" + headers}, "upstream 200"},
		"HTTP/1.1":    {[]string{"-H", "@" + headers, "--http1.1"}, "upstream 200"},
		"a body":      {[]string{"-H", "@" + headers, "--data-binary", "@" + ca}, "upstream 200"},
		"neither":     {nil, refused401 + " 401"},
		"Git's way":   {[]string{"-u", "git:" + token.Secret.Reveal()}, "upstream 200"},
	} {
		args := append([]string{"-sS", "--max-time", "20", "--cacert", ca, "-w", " %{http_code}", "https://" + h.addr + "/db/x"}, tc.args...)
		out, err := exec.Command(curl, args...).CombinedOutput()
		if err != nil || string(out) != tc.want {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}

// H22: plain HTTP on the HTTPS listener is told so, and never redirected.
func TestPlainHTTPOnHTTPS(t *testing.T) {
	h := newHouse(t, nil, withTLS)
	c := h.dial()
	fmt.Fprint(c, "GET /db/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\n\r\n")
	a := h.read(bufio.NewReader(c), "GET")
	if a.StatusCode != 400 || a.Header.Get("Location") != "" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

var errHandshake = errors.New("handshake")

// connect shakes hands with a certificate and makes one request.
func (h *house) connect(c *tls.Config) (*tls.Conn, *bufio.Reader, error) {
	h.Helper()
	raw, err := net.Dial("tcp", h.addr)
	h.must(err)
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	h.Cleanup(func() { raw.Close() })
	conn := tls.Client(raw, c)
	if err := conn.Handshake(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	r := bufio.NewReader(conn)
	if _, err := fmt.Fprint(conn, "GET /db/x HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, nil, err
	}
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != 200 {
		return nil, nil, fmt.Errorf("answer %d", resp.StatusCode)
	}
	return conn, r, nil
}

func (h *house) clientTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: h.roots(), ServerName: "localhost", Certificates: []tls.Certificate{cert}, ClientSessionCache: tls.NewLRUClientSessionCache(4), NextProtos: []string{"http/1.1"}}
}

// X07: a connection that is kept alive ends with its certificate, idle as it is; a new handshake is refused.
// X08: so is a session that was made before and is resumed.
func TestConnectionEndsWithItsCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			up := newUpstream(t, nil)
			h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
			is, cert := h.certificate("cam", time.Hour)
			config := h.clientTLS(cert)
			config.MaxVersion = version
			if _, _, err := h.connect(config); err != nil {
				t.Fatal(err)
			}
			idle, r, err := h.connect(config)
			if err != nil {
				t.Fatal(err)
			}
			if !idle.ConnectionState().DidResume {
				t.Fatal("the second session was not resumed: nothing is proved")
			}
			h.sessions(2, "connection", "connection with a client certificate")
			h.revoke(is)
			answered := time.Now()
			if _, err := r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || time.Since(answered) > cutBound {
				t.Errorf("the idle connection: %v after %v", err, time.Since(answered))
			}
			// With TLS 1.3 a client believes that it is done before the server has looked.
			refused := func(err error) bool {
				return err != nil && (version == tls.VersionTLS13 || errors.Is(err, errHandshake))
			}
			if _, _, err := h.connect(config); !refused(err) {
				t.Errorf("X08: a session of a revoked certificate was resumed: %v", err)
			}
			config.ClientSessionCache = nil
			if _, _, err := h.connect(config); !refused(err) {
				t.Errorf("X07: a revoked certificate was accepted at a new handshake: %v", err)
			}
			h.sessions(0, "", "")
		})
	}
}

// X09: a certificate that expires ends its idle connection by timer, and is refused from then on.
func TestConnectionEndsWhenItsCertificateExpires(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	is, cert := h.certificate("cam", 2*time.Second)
	_, r, err := h.connect(h.clientTLS(cert))
	h.must(err)
	if _, err := r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if left, late := time.Until(is.Credential.ExpiresAt), time.Since(is.Credential.ExpiresAt); left > 0 || late > cutBound {
		t.Errorf("it ended %v after its certificate", late)
	}
	if _, _, err := h.connect(h.clientTLS(cert)); err == nil {
		t.Error("an expired certificate was accepted")
	}
}

// X07 over HTTP/2: the connection ends, with all its streams.
func TestHTTP2ConnectionEndsWithItsCertificate(t *testing.T) {
	up, _, gone := events(t)
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	is, cert := h.certificate("cam", time.Hour)
	resp, err := h.client(&cert, "h2").Get("https://" + h.addr + "/db/events")
	h.must(err)
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Fatal(resp.Proto)
	}
	h.revoke(is)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended cleanly")
	}
	await(t, "the upstream is told", gone)
}

// Invariant 10 over HTTP/2: a stream of a revoked token is reset; the others on the connection live on.
func TestHTTP2StreamIsCutAlone(t *testing.T) {
	up, send, gone := events(t)
	plain := newUpstream(t, nil)
	h := newHouse(t, []string{"/ev/=" + up.URL, "/db/=" + plain.URL}, withTLS)
	one, other := h.token("one"), h.token("other")
	c := h.client(nil, "h2")
	open := func(is authority.Issued) *http.Response {
		t.Helper()
		req, err := http.NewRequest("GET", "https://"+h.addr+"/ev/x", nil)
		h.must(err)
		req.Header.Set("Authorization", "Bearer "+is.Secret.Reveal())
		resp, err := c.Do(req)
		h.must(err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	first, second := open(one), open(other)
	h.revoke(one)
	answered := time.Now()
	if _, err := io.ReadAll(first.Body); err == nil || time.Since(answered) > cutBound {
		t.Errorf("the first stream: %v after %v", err, time.Since(answered))
	}
	await(t, "the upstream is told", gone)
	send <- "still there"
	if line, err := bufio.NewReader(second.Body).ReadString('\n'); err != nil || line != "data: still there\n" {
		t.Errorf("the second stream: %q, %v", line, err)
	}
	if a, err := h.get(c, "/db/x", bearer(other)); err != nil || a.StatusCode != 200 {
		t.Errorf("a third: %v %d", err, a.StatusCode)
	}
}

// frames speaks HTTP/2 by hand.
type frames struct {
	*http2.Framer
	conn net.Conn
	head bytes.Buffer
	enc  *hpack.Encoder
}

func (h *house) frames() *frames {
	h.Helper()
	conn, err := tls.Dial("tcp", h.addr, &tls.Config{RootCAs: h.roots(), NextProtos: []string{"h2"}})
	h.must(err)
	h.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, http2.ClientPreface)
	f := &frames{Framer: http2.NewFramer(conn, conn), conn: conn}
	f.enc = hpack.NewEncoder(&f.head)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.must(f.WriteSettings())
	return f
}

func (f *frames) request(id uint32, end bool, fields ...string) {
	f.head.Reset()
	for _, line := range fields {
		name, value, _ := strings.Cut(line, "= ")
		f.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: bytes.Clone(f.head.Bytes()), EndStream: end, EndHeaders: true})
}

// result waits for what becomes of a stream: a status, "reset" or "gone" for the connection.
func (f *frames) result(id uint32) string {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "gone"
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID == id {
				return frame.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == id {
				return "reset"
			}
		case *http2.GoAwayFrame:
			return "gone"
		}
	}
}

// H09: HTTP/2 requests that would be other ones when they are written down as HTTP/1.
func TestHTTP2CannotSmuggle(t *testing.T) {
	up := newUpstream(t, nil)
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	is := h.token("pump")
	good := []string{":method= POST", ":scheme= https", ":authority= h", ":path= /db/x", "authorization= Bearer " + is.Secret.Reveal()}
	with := func(fields ...string) []string { return append(append([]string{}, good...), fields...) }
	for name, tc := range map[string]struct {
		fields []string
		data   string
	}{
		"transfer-encoding":        {with("transfer-encoding= chunked"), "0\r\n\r\n"},
		"connection":               {with("connection= x-cardea-principal"), ""},
		"line break in a value":    {with("x= a\r\nx-cardea-principal: admin"), ""},
		"line feed in a value":     {with("x= a\nb: c"), ""},
		"NUL in a value":           {with("x= a\x00b"), ""},
		"capitals in a name":       {with("X-Y= z"), ""},
		"space in a name":          {with("x y= z"), ""},
		"more data than told":      {with("content-length= 1"), "abc"},
		"less data than told":      {with("content-length= 9"), "abc"},
		"path without a slash":     {append([]string{":path= db/x"}, append(good[:3:3], good[4])...), ""},
		"absolute path":            {append([]string{":path= http://h/db/x"}, append(good[:3:3], good[4])...), ""},
		"line break in the path":   {append([]string{":path= /db/x HTTP/1.1\r\nX: y"}, append(good[:3:3], good[4])...), ""},
		"line break in the method": {append([]string{":method= GET /db/y HTTP/1.1\r\nX: y"}, good[1:]...), ""},
		"more than 100 headers":    {with(strings.Split(strings.TrimSuffix(strings.Repeat("x-NN= y|", 101), "|"), "|")...), ""},
		"TRACE":                    {append([]string{":method= TRACE"}, good[1:]...), ""},
	} {
		if strings.HasPrefix(name, "more than 100") {
			for i := range tc.fields[5:] {
				tc.fields[5+i] = fmt.Sprintf("x-%d= y", i)
			}
		}
		f := h.frames()
		f.request(1, tc.data == "", tc.fields...)
		if tc.data != "" {
			f.WriteData(1, true, []byte(tc.data))
		}
		got := f.result(1)
		if got == "200" || strings.HasPrefix(got, "3") {
			t.Errorf("%s: %s", name, got)
		}
		for _, s := range up.got() {
			if s.header.Get("X-Cardea-Principal") != "pump" || got == "200" {
				t.Errorf("%s: the upstream got %v", name, s)
			}
		}
	}
	f := h.frames()
	f.request(1, true, good...)
	if got := f.result(1); got != "200" {
		t.Errorf("the good one: %s", got)
	}
}

// H18: a flood of streams that are reset at once, and of CONTINUATION frames, ends the connection.
func TestHTTP2Floods(t *testing.T) {
	up := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	h := newHouse(t, []string{"/db/=" + up.URL}, withTLS)
	is := h.token("pump")
	good := []string{":method= GET", ":scheme= https", ":authority= h", ":path= /db/x", "authorization= Bearer " + is.Secret.Reveal()}
	reset := h.frames()
	go func() {
		for id := uint32(1); id < 200_000; id += 2 {
			reset.request(id, true, good...)
			if reset.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	if got := reset.result(1 << 30); got != "gone" {
		t.Errorf("rapid reset: %s", got)
	}
	reset.conn.Close()

	f := h.frames()
	f.head.Reset()
	go func() {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{}})
		for range 10_000 {
			f.head.Reset()
			f.enc.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("y", 1000), Sensitive: true})
			if f.WriteContinuation(1, false, f.head.Bytes()) != nil {
				return
			}
		}
	}()
	if got := f.result(1); got != "gone" && got != "431" && got != "reset" {
		t.Errorf("continuation: %s", got)
	}
	f.conn.Close()
	h.empty()
}

// H09, H18: what the guard says of HTTP/1 holds for HTTP/2 as well.
func TestFormOfHTTP2(t *testing.T) {
	many := http.Header{"X-A": make([]string, maxHeaderLines+1)}
	for _, tc := range []struct {
		uri    string
		header http.Header
		want   *answer
	}{
		{"/db/x?q=1", nil, nil},
		{"/db/\xc3\xa4", nil, badTarget},
		{"/db/x?q=\xc3\xa4", nil, badTarget},
		{"/db/x#y", nil, badTarget},
		{"/db/x", many, tooManyFields},
	} {
		if got := checkForm(&http.Request{Method: "GET", RequestURI: tc.uri, ProtoMajor: 2, Header: tc.header}, ""); got != tc.want {
			t.Errorf("%q with %d lines: %v", tc.uri, fieldLines(tc.header), got)
		}
	}
}
