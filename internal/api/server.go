package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"cardea/internal/view"
)

const (
	prefix  = "/api/v1"
	maxBody = 1 << 20

	maxPublicBody = 4 << 10 // of what anybody may send
)

// server is the API as one kind of caller sees it.
type server struct {
	api     *API
	isLocal bool
	mux     *http.ServeMux
	huma    huma.API
	open    map[string]bool // operations that need no credential: "POST /api/v1/login"
	nouns   map[string]bool // that paths begin with
}

func newServer(a *API, local bool) *server {
	strictNames()
	s := &server{api: a, isLocal: local, mux: http.NewServeMux(), open: map[string]bool{}}
	c := huma.DefaultConfig("Cardea", a.Version)
	c.Info.Description = "Issues, rotates and revokes credentials, and says what they may do. Lengths of time are written as 90m, 12h or 1095d. " +
		"A credential acts in its own organisation. On the administrator's socket the header X-Cardea-Org names another one than default; " +
		"elsewhere one that is not the caller's is refused."
	c.DocsPath, c.OpenAPIPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil
	c.RejectUnknownQueryParameters = true
	c.Formats = map[string]huma.Format{"application/json": format(), "json": format()}
	c.Transformers = []huma.Transformer{withoutValues}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "cardea_…"},
	}
	s.huma = humago.New(s.mux, c)
	s.orgs()
	s.projects()
	s.principals()
	s.users()
	s.logins()
	s.leaks()
	s.me()
	s.credentials()
	s.appKeys()
	s.keys()
	s.scopes()
	s.roles()
	s.kindPolicies()
	s.formats()
	s.imports()
	s.routes()
	s.apis()
	s.signingKeys()
	s.accessTokens()
	s.authenticators()
	s.sessions()
	s.events()
	s.webhooks()
	s.verify()
	if local {
		s.system()
	} else {
		s.describeBackend()
	}
	s.nouns = map[string]bool{}
	for path := range s.huma.OpenAPI().Paths {
		noun, _, _ := strings.Cut(strings.TrimPrefix(path, prefix+"/"), "/")
		s.nouns[noun] = true
	}
	for _, own := range []string{"ErrorModel", "ErrorDetail"} { // the framework's; see withoutValues
		delete(s.huma.OpenAPI().Components.Schemas.Map(), own)
	}
	return s
}

// op describes an operation.
type op struct {
	id, method, path string
	summary          string
	right            string // "NOUN:VERB on /NOUN/NAME", or "" if any credential will do
	status           int    // of success; 0: 200, or 204 without an answer
	example          string // the body of an example, or its query string
	outside          bool   // path is the whole one, not one under /api/v1
	public           bool   // no credential is needed, and no right

	// What follows is for bodies that are no JSON.
	maxBody int64    // 0: the usual bound
	bodies  []string // media types that are taken too
	answers string   // media type of the answer
}

// where is the whole path.
func (o *op) where() string {
	if o.outside {
		return o.path
	}
	return prefix + o.path
}

// handle connects an operation with what does it: parse, call, answer.
func handle[I, O any](s *server, o op, do func(context.Context, *caller, *I) (*O, error)) {
	if o.public {
		s.open[o.method+" "+o.where()] = true
	}
	huma.Register(s.huma, s.describe(o), func(ctx context.Context, in *I) (*O, error) {
		c, _ := ctx.Value(callerKey{}).(*caller)
		if c == nil {
			return nil, newProblem(http.StatusInternalServerError, "internal error")
		}
		out, err := do(ctx, c, in)
		if err != nil {
			return nil, s.fail(ctx, o, in, err)
		}
		return out, nil
	})
}

// fail makes a problem of an error; the cause of an internal one goes to the log.
func (s *server) fail(ctx context.Context, o op, in any, err error) error {
	where := "body"
	if o.method == http.MethodGet || o.method == http.MethodDelete {
		where = "query"
	}
	conditional := false
	if m, ok := in.(interface{ conditional() bool }); ok {
		conditional = m.conditional()
	}
	p := problemOf(err, where, conditional)
	if p.Status >= http.StatusInternalServerError && ctx.Err() == nil {
		s.api.Log.Error("a request failed", "operation", o.id, "status", p.Status, "err", err)
	}
	return p
}

func (s *server) describe(o op) huma.Operation {
	right, text := "none", "Any valid credential may."
	if o.right != "" {
		right = "api:" + o.right
		text = "Needs the right `" + right + "`."
	}
	security, size := map[string][]string{"bearer": {}}, cmp.Or(o.maxBody, maxBody)
	if o.public {
		text, security, size = "Needs no credential.", map[string][]string{}, cmp.Or(o.maxBody, maxPublicBody)
	}
	h := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.where(), Summary: o.summary,
		Description:   text + "\n\nExample:\n\n    " + o.curl(),
		DefaultStatus: o.status, MaxBodyBytes: size,
		Tags:       []string{strings.Split(o.path, "/")[1]},
		Security:   []map[string][]string{security},
		Extensions: map[string]any{"x-cardea-right": right},
		Responses:  map[string]*huma.Response{"default": s.problemResponse()},
	}
	if o.method != http.MethodGet && o.method != http.MethodDelete && o.example != "" {
		var example any
		if err := json.Unmarshal([]byte(o.example), &example); err != nil {
			panic("api: the example of " + o.id + " is not JSON") // a constant of this package; every test would fail
		}
		h.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Example: example}}}
	}
	o.describeMedia(&h)
	return h
}

// describeMedia says of bodies and answers what they are that are no JSON.
func (o op) describeMedia(h *huma.Operation) {
	binary := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	if len(o.bodies) > 0 {
		h.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{}}
		for _, t := range o.bodies {
			h.RequestBody.Content[t] = binary
		}
	}
	if o.answers != "" {
		h.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{o.answers: binary}}
	}
}

func (s *server) problemResponse() *huma.Response {
	schema := s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[view.Problem](), true, "Problem")
	return &huma.Response{
		Description: "Refused; see the status",
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: schema}},
	}
}

// curl is how to try it.
func (o op) curl() string {
	cmd := `curl -H "Authorization: Bearer $CARDEA_TOKEN"`
	if o.public {
		cmd = "curl"
	}
	url := "http://127.0.0.1:5654" + strings.NewReplacer("{ref}", "pump-1", "{id}", "7Gq0bXv2LmNp", "{name}", "telemetry:write", "{kind}", "pat", "{kid}", "2uZ0y1mKGqv2pxbRVxDq6WzPQ1q9kZJm2hC0q8l4aZk").Replace(o.where())
	switch {
	case o.method == http.MethodGet || o.method == http.MethodDelete:
		if o.example != "" {
			url += "?" + o.example
		}
		if o.method == http.MethodDelete {
			cmd += " -X DELETE"
		}
		return cmd + " '" + url + "'"
	case o.example == "":
		return cmd + " -X " + o.method + " '" + url + "'"
	}
	return cmd + " -X " + o.method + " -H 'Content-Type: application/json' -d '" + o.example + "' '" + url + "'"
}

// Parts of requests. The framework finds them only if their names are exported.
type (
	// RefIn names a principal in the path.
	RefIn struct {
		Ref string `path:"ref" doc:"Name or id"`
	}
	// IDIn names a credential, a session or a device in the path.
	IDIn struct {
		ID string `path:"id"`
	}
	// NameIn names a scope or a role in the path.
	NameIn struct {
		Name string `path:"name"`
	}
	// PageIn asks for one page of a list.
	PageIn struct {
		Cursor string `query:"cursor" maxLength:"1024" doc:"next_cursor of the page before"`
		Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	}
	// ReasonIn says why something is ended.
	ReasonIn struct {
		Reason string `query:"reason" doc:"For the audit log"`
	}
	// OnceIn makes a POST safe to repeat.
	OnceIn struct {
		Key string `header:"Idempotency-Key" minLength:"1" maxLength:"255" pattern:"^[!-~]+$" doc:"The same request with the same key is done once and answered the same for a day"`
	}
	// MatchIn makes a change depend on the version that was read.
	MatchIn struct {
		IfMatch string `header:"If-Match" doc:"ETag: refused with 412 if it was changed meanwhile"`
	}
	// BodyIn is a body that must be there.
	BodyIn[T any] struct {
		Body T
	}
	// OptionalIn is a body that may be left out.
	OptionalIn[T any] struct {
		Body *T
	}
)

func (m MatchIn) conditional() bool { return m.IfMatch != "" && m.IfMatch != "*" }

// version returns the version that If-Match demands; 0 for none.
func (m MatchIn) version() (int64, error) {
	if !m.conditional() {
		return 0, nil
	}
	text, opened := strings.CutPrefix(m.IfMatch, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	n, err := strconv.ParseInt(text, 10, 64)
	if !opened || !closed || err != nil || n < 1 || strconv.FormatInt(n, 10) != text {
		return 0, newProblem(http.StatusPreconditionFailed, "If-Match is no ETag of this: read it again")
	}
	return n, nil
}

// reply is an answer with a body.
type reply[T any] struct {
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     T
}

// empty is an answer without one.
type empty struct{}

func answer[T any](v T) *reply[T] { return &reply[T]{Body: v} }

func tagged[T any](v T, version int64) *reply[T] {
	return &reply[T]{Body: v, ETag: `"` + strconv.FormatInt(version, 10) + `"`}
}

func (r *reply[T]) at(parts ...string) *reply[T] {
	r.Location = prefix + "/" + strings.Join(parts, "/")
	return r
}
