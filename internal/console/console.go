// Package console is the pages for people, on an origin of their own: apart
// from the gateway, so that no page of an upstream can use its cookie.
//
// A person comes with a one-time link of the local administrator. Opening it
// shows a button and changes nothing, so that a mail scanner or a preview
// cannot use the link up; pressing the button redeems the code and sets a
// session cookie. Sessions live in memory: 30 minutes without a request, or 8
// hours, or the end of the process end them.
//
//	c := console.New(console.Config{Authority: a})
//	http.Serve(listener, c)
//
// All pages are read-only in this version.
package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"time"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

//go:embed pages/*.html pages/style.css
var files embed.FS

// Authority is what the console asks.
type Authority interface {
	RedeemLink(ctx context.Context, code string, from credential.Actor) (authority.Caller, error)
	Credentials(ctx context.Context, c authority.Caller, f credential.CredentialFilter) ([]credential.Listed, string, error)
	Sessions(ctx context.Context, c authority.Caller, f credential.SessionFilter) ([]credential.Session, error)
}

// Config is what a Console is made of.
type Config struct {
	Authority Authority
	Secure    bool             // it is reached by HTTPS: cookies are marked so
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: none
}

// Console serves the pages.
type Console struct {
	authority Authority
	secure    bool
	now       func() time.Time
	log       *slog.Logger
	sessions  *sessions
	pages     *template.Template
	handler   http.Handler
}

// New returns a Console.
func New(c Config) *Console {
	k := &Console{authority: c.Authority, secure: c.Secure, now: c.Now, log: c.Log}
	if k.now == nil {
		k.now = time.Now
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	k.sessions = newSessions(k.now)
	k.pages = template.Must(template.New("").Funcs(template.FuncMap{"instant": instant}).ParseFS(files, "pages/*.html"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", k.home)
	mux.HandleFunc("GET /login", k.showLogin)
	mux.HandleFunc("POST /login", k.login)
	mux.HandleFunc("POST /logout", k.logout)
	mux.HandleFunc("GET /keys", k.keys)
	mux.HandleFunc("GET /style.css", style)
	k.handler = guard(http.NewCrossOriginProtection().Handler(mux))
	return k
}

// ServeHTTP serves a page.
func (k *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { k.handler.ServeHTTP(w, r) }

// guard sets what every answer carries (W02, W04) and bounds what is read.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		next.ServeHTTP(w, r)
	})
}

func style(w http.ResponseWriter, _ *http.Request) {
	css, _ := files.ReadFile("pages/style.css") // it is embedded
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(css)
}

// render writes a page, whole or not at all.
func (k *Console) render(w http.ResponseWriter, status int, page string, data any) {
	var b bytes.Buffer
	if err := k.pages.ExecuteTemplate(&b, page, data); err != nil {
		k.log.Error("a console page cannot be made", "page", page, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // the peer may be gone
}

func (k *Console) home(w http.ResponseWriter, r *http.Request) {
	if _, ok := k.caller(r); ok {
		http.Redirect(w, r, "/keys", http.StatusSeeOther)
		return
	}
	k.render(w, http.StatusOK, "home.html", nil)
}

func (k *Console) showLogin(w http.ResponseWriter, r *http.Request) {
	k.render(w, http.StatusOK, "login.html", map[string]string{"Code": r.URL.Query().Get("code")})
}

func (k *Console) login(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		k.fail(w, credential.Errorf(credential.Invalid, "the form cannot be read"))
		return
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	caller, err := k.authority.RedeemLink(r.Context(), r.PostForm.Get("code"), credential.Actor{Source: host, Door: "console"})
	if err != nil {
		k.fail(w, err)
		return
	}
	id, err := k.sessions.start(caller)
	if err != nil {
		k.fail(w, err)
		return
	}
	if old, err := r.Cookie(k.cookieName()); err == nil {
		k.sessions.end(old.Value) // a login begins a new session, whatever there was (W03)
	}
	http.SetCookie(w, k.cookie(id, int(absoluteLimit/time.Second)))
	http.Redirect(w, r, "/keys", http.StatusSeeOther)
}

func (k *Console) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(k.cookieName()); err == nil {
		k.sessions.end(c.Value)
	}
	http.SetCookie(w, k.cookie("", -1))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// caller returns who a request comes from.
func (k *Console) caller(r *http.Request) (authority.Caller, bool) {
	c, err := r.Cookie(k.cookieName())
	if err != nil {
		return authority.Caller{}, false
	}
	return k.sessions.caller(c.Value)
}

func (k *Console) cookieName() string {
	if k.secure {
		return "__Host-cardea"
	}
	return "cardea"
}

func (k *Console) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: k.cookieName(), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: k.secure, SameSite: http.SameSiteLaxMode,
	}
}

// statuses is the table from the kinds of errors to HTTP.
var statuses = map[credential.ErrorKind]int{
	credential.Invalid: http.StatusBadRequest, credential.NotFound: http.StatusNotFound,
	credential.NoRight: http.StatusForbidden, credential.Conflict: http.StatusConflict,
	credential.Down: http.StatusServiceUnavailable,
}

func (k *Console) fail(w http.ResponseWriter, err error) {
	text, status := "internal error", http.StatusInternalServerError
	if e, ok := errors.AsType[*credential.Error](err); ok && e.Kind != credential.Internal {
		text, status = e.Public(), http.StatusBadRequest
		if s, known := statuses[e.Kind]; known {
			status = s
		}
	}
	if status >= http.StatusInternalServerError {
		k.log.Error("the console could not answer", "error", err)
	}
	k.render(w, status, "error.html", map[string]string{"Text": text})
}
