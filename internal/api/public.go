package api

import (
	"encoding/json"
	"net/http"

	"cardea/internal/authority"
)

// newPublic serves what needs no credential. None of it tells a version or anything secret (K18).
func (a *API) newPublic() (http.Handler, error) {
	document, err := json.Marshal(a.remote.huma.OpenAPI())
	if err != nil {
		return nil, err
	}
	metrics, err := a.metrics()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) { bytesOf(w, "application/json", document) })
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, r *http.Request) {
		if len(a.Gate.SigningAlgs(r.Context())) > 0 { // otherwise they cannot be read now, and are missing
			w.Header().Set("Cache-Control", "public, max-age=300") // a key is published for longer before it signs
		}
		bytesOf(w, "application/jwk-set+json", a.Gate.JWKS(r.Context()))
	})
	mux.HandleFunc("GET /.well-known/secret-format.json", func(w http.ResponseWriter, _ *http.Request) {
		bytesOf(w, "application/json", authority.FormatDocument())
	})
	return noStore(mux), nil
}

// readyz answers 200 when the gate may decide and every door accepts. The cause goes to the log.
func (a *API) readyz(w http.ResponseWriter, _ *http.Request) {
	if !a.Gate.Ready() {
		plain(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	if a.Ready != nil {
		if err := a.Ready(); err != nil {
			a.Log.Debug("not ready", "err", err)
			plain(w, http.StatusServiceUnavailable, "not ready")
			return
		}
	}
	plain(w, http.StatusOK, "ok")
}

func noStore(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		h.ServeHTTP(w, r)
	})
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

func bytesOf(w http.ResponseWriter, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(b)
}
