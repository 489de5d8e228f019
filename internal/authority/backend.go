package authority

import (
	"encoding/json"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Mask stands for a secret in what is read back, and in a change for the one that is stored.
const Mask = "******"

// sealBackend is what is stored of a backend; nil for none.
func (a *Authority) sealBackend(one *credential.Authenticator, b *credential.Backend) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, &credential.Error{Kind: credential.Internal, Err: err}
	}
	return a.ring.Seal(one.SealedAs(), text)
}

// backendOf opens what sealBackend has made.
func (a *Authority) backendOf(one *credential.Authenticator) (*credential.Backend, error) {
	if len(one.Sealed) == 0 {
		return nil, nil
	}
	text, err := a.ring.Open(one.SealedAs(), one.Sealed)
	if err != nil {
		return nil, err
	}
	var b credential.Backend
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, &credential.Error{Kind: credential.Internal, Err: err}
	}
	return &b, nil
}

// sameBackend compares what would be stored: no headers are as good as an empty map of them.
func sameBackend(x, y *credential.Backend) bool {
	if x == nil || y == nil {
		return x == y
	}
	return reflect.DeepEqual(copied(x), copied(y))
}

// copied is a backend of the caller's own, in the form that it has when it is read from the store.
func copied(b *credential.Backend) *credential.Backend {
	text, err := json.Marshal(b)
	if err != nil { // a body holds what came from JSON
		return b
	}
	var c credential.Backend
	if json.Unmarshal(text, &c) != nil {
		return b
	}
	return &c
}

// masked is a backend without its secrets: values of headers, of the body and of the query whose names speak of one, and the key.
// In body and query, what has a placeholder is no secret of ours.
func masked(b *credential.Backend) *credential.Backend {
	if b == nil {
		return nil
	}
	m := copied(b)
	for name := range m.Headers {
		if secretName(name) {
			m.Headers[name] = Mask
		}
	}
	maskBody(m.Body, false)
	m.URL = eachQuery(m.URL, func(name, value string) string {
		if isSecretValue(name, value) {
			return Mask
		}
		return value
	})
	if m.SSL.Key != "" {
		m.SSL.Key = Mask
	}
	return m
}

func maskBody(body map[string]any, within bool) {
	for name, v := range body {
		switch v := v.(type) {
		case map[string]any:
			maskBody(v, within || secretName(name))
		case string:
			if v != "" && !strings.Contains(v, "${") && (within || secretName(name)) {
				body[name] = Mask
			}
		}
	}
}

func isSecretValue(name, value string) bool {
	return value != "" && secretName(name) && !strings.Contains(value, "${")
}

// secretName reports whether what has this name is likely to be one.
func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"authorization", "cookie", "key", "token", "secret", "password"},
		func(word string) bool { return strings.Contains(name, word) })
}

// eachQuery replaces the values of a URL's query, which are left as they are written.
func eachQuery(u string, value func(name, value string) string) string {
	head, query, ok := strings.Cut(u, "?")
	if !ok {
		return u
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		if name, v, ok := strings.Cut(part, "="); ok {
			parts[i] = name + "=" + value(name, v)
		}
	}
	return head + "?" + strings.Join(parts, "&")
}

// unmask puts the stored secrets where a change says [Mask]. They go to nobody new: with another scheme, host or port each must
// be given again, or whoever may change an authenticator could have its secrets sent to a service of their own (K02).
func unmask(p *credential.Problems, b, old *credential.Backend) {
	if old == nil {
		old = &credential.Backend{}
	}
	elsewhere := old.URL != "" && origin(b.URL) != origin(old.URL)
	restore := func(field, value, stored string) string {
		switch {
		case value != Mask:
			return value
		case stored == "":
			p.Add(field, "is %s, which stands for a stored secret, and there is none", Mask)
		case elsewhere:
			p.Add(field, "must be given again, because the URL names another service")
		default:
			return stored
		}
		return value
	}
	for _, name := range slices.Sorted(maps.Keys(b.Headers)) {
		b.Headers[name] = restore("headers."+name, b.Headers[name], headerOf(old.Headers, name))
	}
	restoreBody("body", b.Body, old.Body, restore)
	had := map[string]string{}
	eachQuery(old.URL, func(name, value string) string { had[name] = value; return value })
	b.URL = eachQuery(b.URL, func(name, value string) string { return restore("url", value, had[name]) })
	b.SSL.Key = restore("ssl.key", b.SSL.Key, old.SSL.Key)
}

func headerOf(headers map[string]string, name string) string {
	for n, v := range headers {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

func restoreBody(field string, body, old map[string]any, restore func(field, value, stored string) string) {
	for _, name := range slices.Sorted(maps.Keys(body)) {
		switch v := body[name].(type) {
		case map[string]any:
			was, _ := old[name].(map[string]any)
			restoreBody(field+"."+name, v, was, restore)
		case string:
			was, _ := old[name].(string)
			body[name] = restore(field+"."+name, v, was)
		}
	}
}

// origin is scheme, host and port of a URL whose path may hold placeholders.
func origin(u string) string {
	scheme, rest, _ := strings.Cut(u, "://")
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		rest = rest[:at]
	}
	return strings.ToLower(scheme + "://" + rest)
}

// withoutQuery is what an event may tell of a URL.
func withoutQuery(u string) string {
	head, _, _ := strings.Cut(u, "?")
	if parsed, err := url.Parse(head); err == nil {
		parsed.User = nil
		head = parsed.Scheme + "://" + parsed.Host + parsed.Path
	}
	return printable(head)
}

// describe is an authenticator for an event, field by field. Values that may be secret are not in it.
func describe(one *credential.Authenticator, b *credential.Backend) map[string]string {
	d := map[string]string{
		"type": string(one.Type), "listener": one.Listener, "enable": strconv.FormatBool(one.Enabled),
		"precondition": one.Precondition,
	}
	issuerDetails(d, one.Issuer)
	if one.Type == credential.ByJWT {
		d["scopes"] = names(one.Scopes)
	}
	if b == nil {
		return d
	}
	d["scopes"], d["allow_superuser"] = names(one.Scopes), strconv.FormatBool(one.AllowSuperuser)
	d["on_backend_failure"] = onFailure(one.DenyOnFailure)
	d["method"], d["url"] = b.Method, withoutQuery(b.URL)
	d["headers"] = listed(slices.Sorted(maps.Keys(b.Headers)))
	d["body"] = listed(slices.Sorted(maps.Keys(b.Body)))
	d["algorithm"], d["iteration_count"] = b.Algorithm, number(b.IterationCount)
	d["pool_size"], d["enable_pipelining"] = number(b.PoolSize), number(b.Pipelining)
	d["connect_timeout"], d["request_timeout"] = b.ConnectTimeout.String(), b.RequestTimeout.String()
	d["max_inactive"] = b.MaxInactive.String()
	d["ssl"] = "off"
	if b.SSL.Enable {
		d["ssl"] = "verify=" + strconv.FormatBool(b.SSL.Verify) + " server_name=" + printable(b.SSL.ServerName)
	}
	return d
}

// listed is a list of names that a caller chose, in a length that fits into an event.
func listed(all []string) string {
	const most = 32
	more := ""
	if len(all) > most {
		more = " and " + strconv.Itoa(len(all)-most) + " more"
		all = all[:most]
	}
	return secret.Redact(list(all, printable)) + more
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func onFailure(deny bool) string {
	if deny {
		return "deny"
	}
	return "ignore"
}

// differences are the details of a change. Of what is not shown they say that it was changed.
func differences(old, now *credential.Authenticator, before, after *credential.Backend) details {
	d := details{}
	was := describe(old, before)
	is := describe(now, after)
	for field := range is {
		d.set(field, was[field], is[field])
	}
	for field := range was { // of an issuer that is no more
		d.set(field, was[field], is[field])
	}
	if !reflect.DeepEqual(old.Issuer, now.Issuer) && len(d) == 0 {
		d["issuer"] = "changed"
	}
	if before == nil || after == nil {
		return d
	}
	x, y := copied(before), copied(after)
	for field, same := range map[string]bool{
		"url": x.URL == y.URL, "headers": reflect.DeepEqual(x.Headers, y.Headers), "body": reflect.DeepEqual(x.Body, y.Body), "ssl": x.SSL == y.SSL,
	} {
		if _, told := d[field+".new"]; !told && !same {
			d[field] = "changed"
		}
	}
	return d
}

// sameButSwitch compares all that a change can be about but the switch and the backend.
func sameButSwitch(x, y *credential.Authenticator) bool {
	return x.Precondition == y.Precondition && x.AllowSuperuser == y.AllowSuperuser && x.DenyOnFailure == y.DenyOnFailure && slices.Equal(x.Scopes, y.Scopes) &&
		reflect.DeepEqual(x.Issuer, y.Issuer)
}
