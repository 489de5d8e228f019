package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// document is what the tests read of /openapi.json.
type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		ID          string                `json:"operationId"`
		Summary     string                `json:"summary"`
		Description string                `json:"description"`
		Right       string                `json:"x-cardea-right"`
		Security    []map[string][]string `json:"security"`
		Parameters  []struct {
			Name string `json:"name"`
			In   string `json:"in"`
		} `json:"parameters"`
		Body struct {
			Content map[string]struct {
				Example map[string]any    `json:"example"`
				Schema  map[string]string `json:"schema"`
			} `json:"content"`
		} `json:"requestBody"`
		Responses map[string]any `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any `json:"properties"`
			Required   []string       `json:"required"`
		} `json:"schemas"`
		Security map[string]struct {
			Type, Scheme string
		} `json:"securitySchemes"`
	} `json:"components"`
}

func (w *world) document() document {
	var d document
	w.as("", "GET", "//openapi.json", nil).is(200).into(&d)
	return d
}

// the paths of the contract, with their methods
var contract = map[string]string{
	"/principals": "post get", "/principals/{ref}": "get patch delete",
	"/credentials": "post get", "/credentials/batch": "post", "/credentials/{id}": "get patch delete",
	"/credentials/{id}/rotate": "post", "/credentials/{id}/retire": "post", "/credentials/{id}/extend": "post", "/credentials/{id}/revoke": "post",
	"/credentials/{id}/quarantine": "post", "/credentials/{id}/release": "post",
	"/credentials/export": "get", "/credentials/{id}/usage": "get", "/inventory": "get",
	"/credentials/preview": "post", "/credentials/{id}/approve": "post", "/credentials/{id}/deny": "post",
	"/policies": "get", "/policies/{kind}": "get put patch delete",
	"/credentials/{id}/reveal": "post", "/credentials/{id}/avatar": "put get delete", "/credentials/prune": "post",
	"/app-keys": "post get delete", "/app-keys/{id}": "get delete", "/app-keys/expiration-info": "get",
	"/app-keys/{id}/key-id": "post", "/app-keys/{id}/user-name": "get put", "/app-keys/{id}/client-name": "put", "/app-keys/{id}/ip-whitelist": "put",
	"/app-keys/{id}/expiration-date": "get put", "/app-keys/{id}/expiration-date/reset": "post", "/app-keys/{id}/is-expired": "get",
	"/formats": "get", "/formats/{name}": "get put delete",
	"/imports": "post get", "/imports/{id}": "get", "/imports/{id}/rows": "post", "/imports/{id}/finish": "post", "/imports/try": "post",
	"/keys": "post", "/keys/{id}/rotate": "post",
	"/scopes": "post get", "/scopes/{name}": "get put delete", "/roles": "post get", "/roles/{name}": "get put delete",
	"/authenticators": "post get", "/authenticators/{id}": "get put patch delete",
	"/authenticators/{id}/move": "post", "/authenticators/{id}/test": "post", "/authenticators/{id}/metrics": "get",
	"/apis": "post get", "/apis/{name}": "get patch delete", "/signing-keys": "get post", "/signing-keys/{kid}/revoke": "post", "/tokens/revoke": "post",
	"/orgs": "post get", "/orgs/{name}": "get patch delete", "/projects": "get", "/projects/{name}": "get put delete",
	"/routes": "post get put delete", "/sessions": "get", "/sessions/{id}": "delete",
	"/events": "get", "/events/export": "get", "/events/verify": "post", "/refusals": "get",
	"/users/{ref}/password": "post delete", "/users/{ref}/invite": "post",
	"/login": "post", "/activate": "post", "/logout": "post", "/leaks": "post",
	"/webhooks": "post get", "/webhooks/{id}": "get patch delete", "/webhooks/{id}/rotate": "post", "/webhooks/{id}/test": "post", "/webhooks/{id}/deliveries": "get",
	"/me": "get", "/me/password": "post", "/me/tokens": "get post", "/me/tokens/{id}": "get",
	"/me/tokens/{id}/renew": "post", "/me/tokens/{id}/rotate": "post", "/me/tokens/{id}/revoke": "post",
	"/verify": "post", "/explain": "post", "/whoami": "get", "/ca": "get",
	"//backend/emqx/authn": "post", "//backend/emqx/authz": "post", "//backend/emqx/scram": "post",
}

// shortPath is a path as the tests write it: under /api/v1, or whole after a "/".
func shortPath(path string) string {
	if short, ok := strings.CutPrefix(path, prefix); ok {
		return short
	}
	return "/" + path
}

func TestOpenAPIDescribesTheContract(t *testing.T) {
	w := newWorld(t)
	d := w.document()
	if !strings.HasPrefix(d.OpenAPI, "3.1") {
		t.Errorf("version %q", d.OpenAPI)
	}
	if s := d.Components.Security["bearer"]; s.Type != "http" || s.Scheme != "bearer" {
		t.Errorf("security scheme %+v", s)
	}
	ids := map[string]bool{}
	for path, ops := range d.Paths {
		short := shortPath(path)
		var methods []string
		for method, o := range ops {
			methods = append(methods, method)
			if o.ID == "" || ids[o.ID] {
				t.Errorf("%s %s: operation id %q is empty or not unique", method, path, o.ID)
			}
			ids[o.ID] = true
			if o.Summary == "" || !strings.Contains(o.Description, "curl ") || o.Right == "" || len(o.Security) != 1 {
				t.Errorf("%s %s: no summary, example, right or security", method, path)
			}
			if o.Responses["default"] == nil || len(o.Responses) != 2 {
				t.Errorf("%s %s: responses %v", method, path, o.Responses)
			}
			if public := slices.Contains(open, strings.ToUpper(method)+" "+short); public != (len(o.Security[0]) == 0) {
				t.Errorf("%s %s: security %v", method, path, o.Security)
			}
			for _, p := range o.Parameters {
				if p.In == "cookie" || isSecretName(p.Name) {
					t.Errorf("%s %s: parameter %s in %s", method, path, p.Name, p.In)
				}
			}
			body, ok := o.Body.Content["application/json"]
			if !ok {
				continue
			}
			schema := d.Components.Schemas[strings.TrimPrefix(body.Schema["$ref"], "#/components/schemas/")]
			for name := range body.Example {
				if schema.Properties[name] == nil {
					t.Errorf("%s %s: the example has %s, the schema does not", method, path, name)
				}
			}
			for _, name := range schema.Required {
				if body.Example[name] == nil {
					t.Errorf("%s %s: the example has no %s", method, path, name)
				}
			}
		}
		want := strings.Fields(contract[short])
		slices.Sort(methods)
		slices.Sort(want)
		if !slices.Equal(methods, want) {
			t.Errorf("%s: methods %v, the contract says %v", short, methods, want)
		}
	}
	for path := range contract {
		whole := prefix + path
		if strings.HasPrefix(path, "//") {
			whole = path[1:]
		}
		if d.Paths[whole] == nil {
			t.Errorf("%s is missing", path)
		}
	}
}

// Every $ref leads somewhere, and the framework's own error type is not shown.
func TestOpenAPIReferences(t *testing.T) {
	w := newWorld(t)
	raw := w.as("", "GET", "//openapi.json", nil).is(200).body
	d := w.document()
	const ref = `"$ref":"#/components/schemas/`
	for rest := string(raw); ; {
		_, after, ok := strings.Cut(rest, ref)
		if !ok {
			break
		}
		name, tail, _ := strings.Cut(after, `"`)
		if _, ok := d.Components.Schemas[name]; !ok {
			t.Errorf("%s is referred to and not there", name)
		}
		rest = tail
	}
	if strings.Contains(string(raw), "ErrorModel") || strings.Contains(string(raw), "$schema") {
		t.Error("the framework shows")
	}
}

// The parameters that requests are made of are all described, and so taken: what is not described is refused.
func TestOpenAPIParameters(t *testing.T) {
	w := newWorld(t)
	d := w.document()
	for at, want := range map[string]string{
		"get /credentials":               "created_before cursor expires_before kind limit never_used over_privileged owner parent principal project scope status tag unused_since with_suggestions",
		"get /credentials/export":        "created_before expires_before format kind never_used over_privileged owner parent principal project scope status tag unused_since with_suggestions",
		"get /credentials/{id}/usage":    "days id",
		"get /principals":                "cursor kind limit role",
		"get /events":                    "actor after cursor from limit newest subject to type",
		"get /events/export":             "actor after from subject to type",
		"get /refusals":                  "limit since",
		"get /sessions":                  "credential door principal",
		"post /credentials":              "Idempotency-Key",
		"post /credentials/batch":        "Idempotency-Key",
		"post /credentials/{id}/rotate":  "Idempotency-Key id",
		"post /keys":                     "Idempotency-Key",
		"post /principals":               "Idempotency-Key",
		"patch /principals/{ref}":        "If-Match ref",
		"patch /credentials/{id}":        "If-Match id",
		"put /scopes/{name}":             "If-Match name",
		"put /policies/{kind}":           "If-Match kind",
		"patch /policies/{kind}":         "If-Match kind",
		"delete /policies/{kind}":        "If-Match kind",
		"post /credentials/{id}/approve": "If-Match id",
		"put /roles/{name}":              "If-Match name",
		"put /routes":                    "If-Match",
		"post /apis":                     "Idempotency-Key",
		"patch /apis/{name}":             "If-Match name",
		"get /authenticators":            "cursor limit listener",
		"post /authenticators":           "Idempotency-Key",
		"put /authenticators/{id}":       "If-Match id",
		"patch /authenticators/{id}":     "If-Match id",
		"post /authenticators/{id}/move": "If-Match id",
		"post /authenticators/{id}/test": "id",
		"delete /routes":                 "prefix",
		"delete /principals/{ref}":       "reason ref",
		"delete /credentials/{id}":       "id reason",
	} {
		method, path, _ := strings.Cut(at, " ")
		var got []string
		for _, p := range d.Paths[prefix+path][method].Parameters {
			got = append(got, p.Name)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s takes %v, want %s", at, got, want)
		}
	}
}

// open are the operations that need no credential; nothing else may say so of itself.
var open = []string{"POST /activate", "POST /leaks", "POST /login"}

// inventory calls fn for every operation of the document that needs a credential, with a request that would be well formed.
func (w *world) inventory(fn func(method, path, right string, body any)) int {
	n := 0
	for path, ops := range w.document().Paths {
		for method, o := range ops {
			if slices.Contains(open, strings.ToUpper(method)+" "+shortPath(path)) {
				continue
			}
			p := strings.NewReplacer("{ref}", "pump-1", "{id}", "7Gq0bXv2LmNp", "{name}", "telemetry:write", "{kind}", "pat").Replace(shortPath(path))
			switch {
			case path == prefix+"/routes" && method == "delete":
				p += "?prefix=/db/"
			case path == prefix+"/app-keys" && method == "delete":
				p += "?expired=true"
			}
			var body any
			if c, ok := o.Body.Content["application/json"]; ok {
				body = c.Example
			} else if len(o.Body.Content) > 0 {
				body = "a picture"
			}
			if strings.HasSuffix(path, "/avatar") && method == "put" {
				body = "not looked at"
			}
			fn(strings.ToUpper(method), p, o.Right, body)
			n++
		}
	}
	return n
}

// OWASP API9: no operation of the inventory answers anybody without a credential, whatever is sent.
func TestEveryOperationNeedsACredential(t *testing.T) {
	w := newWorld(t)
	const want = `{"title":"Unauthorized","status":401,"detail":"invalid token"}` + "\n"
	n := w.inventory(func(method, path, _ string, body any) {
		for _, b := range []any{body, nil, "{"} {
			r := w.as("", method, path, b)
			r.problem(401)
			if string(r.body) != want || r.header.Get("WWW-Authenticate") != `Bearer realm="cardea", error="invalid_token"` {
				t.Errorf("%s: %s, %v", r.asked, r.body, r.header)
			}
			if r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: Cache-Control %q", r.asked, r.header.Get("Cache-Control"))
			}
		}
	})
	if n < 35 {
		t.Errorf("only %d operations", n)
	}
}

// OWASP API5: whoever has no right may do nothing but ask who they are and what to trust.
func TestEveryOperationNeedsARight(t *testing.T) {
	w := newWorld(t)
	nobody := w.caller("nobody")
	before := len(w.allEvents())
	w.inventory(func(method, path, right string, body any) {
		r := w.as(nobody, method, path, body)
		switch {
		case strings.HasSuffix(r.asked, "/logout"):
			r.is(409) // it came with no session
		case right == "none":
			r.is(200)
		case r.status != http.StatusForbidden && r.status != http.StatusNotFound:
			t.Errorf("%s %s: %s", right, r.asked, r.body)
		}
	})
	if after := len(w.allEvents()); after != before {
		t.Errorf("%d events were made", after-before)
	}
}

// What only the local administrator may is not on the network at all.
func TestSystemIsLocal(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/system/admin-token", "/system/admin-link", "/system/backup", "/system/doctor", "/system/accept-clock"} {
		w.do("POST", path, nil).problem(404)
		w.do("GET", path, nil).problem(404)
	}
}
