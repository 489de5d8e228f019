package outbound

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"cardea/internal/credential"
)

// pieces is a template in the making.
type pieces struct{ list []piece }

// text adds text that is sent as it is.
func (b *pieces) text(s string) {
	if last := len(b.list) - 1; last >= 0 && b.list[last].of == ofText {
		b.list[last].text += s
		return
	}
	b.list = append(b.list, piece{of: ofText, text: s})
}

// add adds pieces whose text is encoded already.
func (b *pieces) add(list ...piece) {
	for _, p := range list {
		if p.of == ofText {
			b.text(p.text)
		} else {
			b.list = append(b.list, p)
		}
	}
}

// json adds a map as a JSON object. field is its name in the API.
func (b *pieces) json(m map[string]any, field string, depth int, p *credential.Problems) {
	if depth > maxDepth {
		p.Add(field, "must not have more than %d maps in each other", maxDepth)
		return
	}
	b.text("{")
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.text(",")
		}
		name := field + "." + key
		if !checkKey(field, key, p) {
			continue
		}
		b.text(`"` + string(appendJSON(nil, key)) + `":`)
		switch value := m[key].(type) {
		case string:
			b.text(`"`)
			b.value(value, name, asJSON, p)
			b.text(`"`)
		case map[string]any:
			b.json(value, name, depth+1, p)
		default:
			p.Add(name, "must be a text, or an object of texts: all values are sent as texts")
		}
	}
	b.text("}")
}

// form adds a flat map as key=value&… where says where it is sent, for the message.
func (b *pieces) form(m map[string]any, where string, p *credential.Problems) {
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.text("&")
		}
		name := "body." + key
		if !checkKey("body", key, p) {
			continue
		}
		value, ok := m[key].(string)
		if !ok {
			p.Add(name, "must be a text %s", where)
			continue
		}
		b.text(string(appendForm(nil, key)) + "=")
		b.value(value, name, asForm, p)
	}
}

// query adds the body of a GET to the query. begun says that it has one.
func (b *pieces) query(begun bool, m map[string]any, p *credential.Problems) {
	if len(m) == 0 {
		return
	}
	if begun {
		b.text("&")
	} else {
		b.text("?")
	}
	b.form(m, "with the method get, which puts it into the query", p)
}

// value adds the template of a member.
func (b *pieces) value(s, field string, as encoding, p *credential.Problems) {
	list, why := parse(s, as)
	if why != "" {
		note(p, field, why)
		return
	}
	for _, one := range list {
		if one.of == ofText {
			text, why := as.append(nil, one.text)
			if why != "" {
				p.Add(field, "must be UTF-8")
				return
			}
			one.text = string(text)
		}
		b.add(one)
	}
}

// checkKey reports whether the name of a member can be sent. It is no template: a client whose value becomes
// a name could say something twice.
func checkKey(field, key string, p *credential.Problems) bool {
	switch {
	case !utf8.ValidString(key):
		p.Add(field, "must have names in UTF-8")
	case hasPlaceholder(key):
		p.Add(field, "must not have placeholders in names: %q", key)
	default:
		return true
	}
	return false
}

func hasPlaceholder(s string) bool {
	list, why := parse(s, asIs)
	return why != "" || slices.ContainsFunc(list, func(p piece) bool { return p.of != ofText })
}

// checkHeaders returns the headers that are sent, by their names in lower case, the default ones among them.
func checkHeaders(b *credential.Backend, p *credential.Problems) map[string]string {
	all := map[string]string{
		"accept":        jsonType,
		"cache-control": "no-cache",
		"connection":    "keep-alive",
		"keep-alive":    "timeout=30, max=1000",
	}
	if b.Method == "post" {
		all["content-type"] = jsonType
	}
	seen := map[string]bool{}
	for _, given := range slices.Sorted(maps.Keys(b.Headers)) {
		if !isToken(given) {
			p.Add("headers", "must have names of letters, digits and !#$%%&'*+-.^_`|~: %.100q", given)
			continue
		}
		field, name, value := "headers."+given, lower(given), b.Headers[given]
		if why := notYours[name]; why != "" {
			p.Add(field, "must not be set: %s", why)
			continue
		}
		if seen[name] {
			p.Add(field, "is there twice: capital letters make no other name")
		}
		seen[name] = true
		all[name] = value
		note(p, field, checkHeader(b.Method, name, value))
	}
	return all
}

// notYours are the headers that say how the message is read, or who speaks to whom.
var notYours = map[string]string{
	"host":                "it is the URL's",
	"content-length":      framing,
	"transfer-encoding":   framing,
	"connection":          hop,
	"keep-alive":          hop,
	"proxy-connection":    hop,
	"proxy-authorization": hop,
	"te":                  hop,
	"trailer":             hop,
	"upgrade":             hop,
	"expect":              "the answer is read at once",
	"accept-encoding":     "answers are read as they are",
}

const (
	framing = "it follows from the body"
	hop     = "it is about the connection, which is Cardea's"
)

// checkHeader returns the rule that a header breaks.
func checkHeader(method, name, value string) string {
	if name == "content-type" {
		switch {
		case method == "get":
			return "is for the method post: with get there is no body"
		case value != jsonType && value != formType:
			return fmt.Sprintf("must be %s or %s, without parameters", jsonType, formType)
		}
		return ""
	}
	list, why := parse(value, asIs)
	if why != "" {
		return why
	}
	if !isHeaderText(textOf(list)) {
		return "must not have control characters, or blanks around it"
	}
	return ""
}

// isToken reports whether s can be a header's name (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c):
		case c == '!', c >= '#' && c <= '\'', c == '*', c == '+', c == '-', c == '.', c == '^', c == '_', c == '`', c == '|', c == '~':
		default:
			return false
		}
	}
	return s != ""
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}
