package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/view"
)

const (
	backendObject  = "/backend/emqx"
	maxBackendBody = 64 << 10
)

// Backend serves /backend/ to clusters of EMQX, each with a credential of its own.
func (a *API) Backend() http.Handler { return a.backend }

func newBackend(a *API) *server {
	s := &server{api: a, mux: http.NewServeMux()}
	s.nouns = map[string]bool{"emqx": true}
	s.emqx("authn", s.emqxAuthn)
	s.emqx("authz", s.emqxAuthz)
	s.emqx("scram", s.emqxScram)
	return s
}

// emqx registers a question of EMQX: as POST, and as GET with the fields in the query.
func (s *server) emqx(name string, answer func(*http.Request, *caller, form) (any, *problem)) {
	h := func(w http.ResponseWriter, r *http.Request) {
		out, p := s.answerEMQX(w, r, name, answer)
		if p != nil {
			p.write(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// the peer may be gone; there is nobody else to tell
		_ = json.NewEncoder(w).Encode(out)
	}
	s.mux.HandleFunc("POST "+backendObject+"/"+name, h)
	s.mux.HandleFunc("GET "+backendObject+"/"+name, h)
}

func (s *server) answerEMQX(w http.ResponseWriter, r *http.Request, name string, answer func(*http.Request, *caller, form) (any, *problem)) (any, *problem) {
	c, _ := r.Context().Value(callerKey{}).(*caller)
	if c == nil {
		return nil, newProblem(http.StatusInternalServerError, "internal error")
	}
	if err := s.api.Authority.Authorize(c.Caller, "backend:"+name, backendObject); err != nil {
		return nil, problemOf(err, "body", false)
	}
	f, p := readForm(w, r)
	if p != nil {
		return nil, p
	}
	return answer(r, c, f)
}

// form is a question: names and texts. EMQX renders every value as a text, people may send numbers as well.
type form map[string]string

// readForm reads the fields of a question from the query of a GET, or from the body.
func readForm(w http.ResponseWriter, r *http.Request) (form, *problem) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return formOf(r.URL.Query(), "query")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBackendBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, newProblem(http.StatusRequestEntityTooLarge, "the body is longer than 64 KiB")
	}
	if err != nil {
		return nil, newProblem(http.StatusBadRequest, "the body did not come whole")
	}
	if !utf8.Valid(body) {
		return nil, newProblem(http.StatusBadRequest, "the body is not valid UTF-8")
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "application/json":
		return formOfJSON(body)
	case err == nil && kind == "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, newProblem(http.StatusBadRequest, "the form is not well formed")
		}
		return formOf(values, "body")
	}
	return nil, newProblem(http.StatusUnsupportedMediaType, "send application/json or application/x-www-form-urlencoded")
}

func formOf(values url.Values, where string) (form, *problem) {
	f := form{}
	for name, v := range values {
		switch {
		case len(v) > 1: // H21
			return nil, badField(http.StatusBadRequest, where+"."+shorten(name), "is there more than once")
		case !utf8.ValidString(v[0]):
			return nil, badField(http.StatusBadRequest, where+"."+shorten(name), "is not valid UTF-8")
		}
		f[name] = v[0]
	}
	return f, nil
}

func formOfJSON(body []byte) (form, *problem) {
	if err := checkJSON(body); err != nil {
		return nil, newProblem(http.StatusBadRequest, "the body is not well formed JSON")
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return nil, newProblem(http.StatusBadRequest, "the body must be a JSON object")
	}
	f := form{}
	for name, raw := range fields {
		var v any
		_ = json.Unmarshal(raw, &v) // it was well formed just now
		switch v := v.(type) {
		case nil:
		case string:
			f[name] = v
		case float64, bool:
			f[name] = string(raw)
		default:
			return nil, badField(http.StatusBadRequest, "body."+shorten(name), "must be a text, a number or a truth value")
		}
	}
	return f, nil
}

// source reads where the client of the cluster is. It is not known if the field is missing or empty.
func (f form) source() (netip.Addr, bool) {
	text := f["peerhost"]
	if text == "" {
		return netip.Addr{}, true
	}
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err == nil
}

// deny is the answer to a question that cannot be understood. Any other status would make EMQX go on as if nobody had been asked.
func deny(why string) view.EMQXVerdict { return view.EMQXVerdict{Result: "deny", Why: why} }

const badPeerHost = "peerhost is not an address such as 10.1.2.3"

// identityFor is what a cluster keeps of an identity. The end is rounded down: no session outlives it.
func identityFor(id *gate.Identity) view.EMQXIdentity {
	v := view.EMQXIdentity{Attrs: map[string]string{"cardea_credential": id.Credential, "cardea_principal": id.Principal}}
	if !id.Deadline.IsZero() {
		v.ExpireAt = id.Deadline.Unix()
	}
	return v
}

// mayHave reports whether an identity may log in with a client id: a device with its own name, or that with ":" and
// anything behind; others with any that no device bears (M08).
func (s *server) mayHave(r *http.Request, id *gate.Identity, clientID string) (bool, *problem) {
	bearer, _, _ := strings.Cut(clientID, ":")
	if id.PrincipalKind == credential.Device {
		return bearer == id.Principal, nil
	}
	taken, err := s.api.Gate.Bears(r.Context(), id.Org, bearer)
	if err != nil {
		return false, refusal(credential.Unavailable, 0)
	}
	return !taken, nil
}

// number reads a field that is a small number; orElse if it is missing or empty.
func (f form) number(name string, orElse int) (int, bool) {
	if f[name] == "" {
		return orElse, true
	}
	n, err := strconv.Atoi(f[name])
	return n, err == nil
}
