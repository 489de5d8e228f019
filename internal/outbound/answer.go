package outbound

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// Bounds of what an answer can say.
const (
	maxBody   = 64 << 10
	maxSalt   = 1024
	maxAttrs  = 32
	maxAttr   = 1024 // bytes of a value
	maxMember = 256  // of a form
)

// read says what an answer means for a login.
func (to *plan) read(r *reply, now time.Time) credential.Answer {
	switch {
	case r.status == http.StatusOK:
	case r.status == http.StatusNoContent && !to.scram:
		return credential.Answer{Verdict: credential.Known}
	case r.status >= 400 && r.status < 500 && r.status != http.StatusTooManyRequests:
		return credential.Answer{Verdict: credential.Unknown, Why: "the service does not know the user: it answered " + strconv.Itoa(r.status)}
	default:
		return failed("the service answered %d", r.status)
	}
	m, err := parseAnswer(r)
	if err != nil {
		return failed("the answer is bad: %v", err)
	}
	if to.scram {
		return to.readKeys(m, now)
	}
	return readResult(m, now)
}

func failed(format string, args ...any) credential.Answer {
	return credential.Answer{Verdict: credential.Failed, Why: fmt.Sprintf(format, args...)}
}

// answer is the members of a body, whose values are texts of JSON; in a form they are what they would be as JSON.
type answer struct {
	list []member
	form bool
	room [8]member
}

// parseAnswer reads a body by its type. The type's name is taken in any case of letters, as RFC 9110, 8.3.1 wants, but it must be
// that type, and not only begin like it.
func parseAnswer(r *reply) (*answer, error) {
	a := &answer{}
	kind, _, _ := strings.Cut(r.kind, ";")
	kind = strings.TrimSpace(kind)
	var err error
	switch {
	case len(r.body) == 0:
		err = errors.New("it is empty")
	case strings.EqualFold(kind, jsonType):
		a.list, err = parseObject(a.room[:0], r.body)
	case strings.EqualFold(kind, formType):
		a.form = true
		a.list, err = parseForm(a.room[:0], r.body)
	case r.kind == "":
		err = errors.New("it has no content-type")
	default:
		err = fmt.Errorf("its content-type is neither %s nor %s", jsonType, formType)
	}
	return a, err
}

// parseForm reads a form. Its values are texts, which stand here without the quotes that JSON would have.
func parseForm(to []member, body []byte) ([]member, error) {
	for pair := range strings.SplitSeq(string(body), "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, errors.New("it is no form")
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, errors.New("it is no form")
		}
		if find(to, name) != nil {
			return nil, errTwice
		}
		if len(to) == maxMember {
			return nil, errors.New("it has too many members")
		}
		to = append(to, member{[]byte(name), []byte(value)})
	}
	return to, nil
}

// text returns the value of a member that must be a text.
func (a *answer) text(name string) ([]byte, error) {
	value := find(a.list, name)
	switch {
	case value == nil:
		return nil, fmt.Errorf("%s is missing", name)
	case a.form:
		return value, nil
	}
	s, ok := text(value)
	if !ok {
		return nil, fmt.Errorf("%s is no text", name)
	}
	return s, nil
}

// readKeys reads the answer for SCRAM.
func (to *plan) readKeys(a *answer, now time.Time) credential.Answer {
	out := credential.Answer{Verdict: credential.Known}
	out.Keys.Iterations = to.iterations
	var err error
	for _, k := range []struct {
		name string
		to   *[]byte
	}{{"stored_key", &out.Keys.StoredKey}, {"server_key", &out.Keys.ServerKey}, {"salt", &out.Keys.Salt}} {
		if *k.to, err = a.hex(k.name); err != nil {
			return failed("the answer is bad: %v", err)
		}
	}
	switch {
	case len(out.Keys.StoredKey) != to.keyLen || len(out.Keys.ServerKey) != to.keyLen:
		return failed("the answer is bad: stored_key and server_key must have %d bytes for the authenticator's algorithm", to.keyLen)
	case len(out.Keys.Salt) == 0 || len(out.Keys.Salt) > maxSalt:
		return failed("the answer is bad: salt must have from 1 to %d bytes", maxSalt)
	}
	if err := a.rights(&out, now); err != nil {
		return failed("the answer is bad: %v", err)
	}
	return out
}

func (a *answer) hex(name string) ([]byte, error) {
	s, err := a.text(name)
	if err != nil {
		return nil, err
	}
	if _, err = hex.Decode(s, s); err != nil { // in place: the body is this answer's
		return nil, fmt.Errorf("%s is not hexadecimal", name)
	}
	return bytes.Clone(s[:len(s)/2]), nil
}

// readResult reads the answer about a password.
func readResult(a *answer, now time.Time) credential.Answer {
	if find(a.list, "result") == nil {
		return credential.Answer{Verdict: credential.Unknown, Why: "the service leaves it to others: the answer has no result"}
	}
	result, err := a.text("result")
	if err != nil {
		return failed("the answer is bad: %v", err)
	}
	switch string(result) {
	case "allow":
	case "deny":
		return credential.Answer{Verdict: credential.Denied, Why: "the service denies it"}
	case "ignore":
		return credential.Answer{Verdict: credential.Unknown, Why: "the service leaves it to others"}
	default:
		return failed("the answer is bad: result must be allow, deny or ignore")
	}
	out := credential.Answer{Verdict: credential.Known}
	switch err := a.rights(&out, now).(type) {
	case nil:
		return out
	case errRight:
		return credential.Answer{Verdict: credential.Denied, Bad: true, Why: "the answer is bad: " + err.Error()}
	default:
		return failed("the answer is bad: %v", err)
	}
}

// errRight is what is wrong with expire_at or acl, which the service has got as far as saying.
type errRight string

func (e errRight) Error() string { return string(e) }

// rights reads what an identity may and for how long.
func (a *answer) rights(to *credential.Answer, now time.Time) (err error) {
	to.Superuser = isTrue(find(a.list, "is_superuser"), a.form)
	if value := find(a.list, "client_attrs"); value != nil {
		if to.Attrs, err = parseAttrs(value); err != nil {
			return err
		}
	}
	if value := find(a.list, "expire_at"); value != nil {
		if to.ExpireAt, err = parseExpiry(value, now); err != nil {
			return err
		}
	}
	if value := find(a.list, "acl"); value != nil {
		to.ACL, err = parseACL(value, a.form)
	}
	return err
}

// isTrue takes true, "true", and a whole number from 1 on, also as a text. Everything else is false.
func isTrue(value []byte, form bool) bool {
	s := value
	if quoted, ok := text(value); ok && !form {
		s = quoted
	}
	if string(s) == "true" {
		return true
	}
	some := false
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
		some = some || c != '0'
	}
	return some
}

// parseAttrs reads client_attrs. Names that no placeholder can have are left out.
func parseAttrs(value []byte) (map[string]string, error) {
	const rule = "client_attrs must be an object of texts"
	list, err := parseObject(nil, value)
	if err != nil {
		return nil, errors.New(rule)
	}
	if len(list) > maxAttrs {
		return nil, fmt.Errorf("client_attrs has more than %d members", maxAttrs)
	}
	attrs := make(map[string]string, len(list))
	for _, m := range list {
		s, ok := text(m.value)
		switch {
		case !ok:
			return nil, errors.New(rule)
		case len(s) > maxAttr || len(m.name) > maxAttr:
			return nil, fmt.Errorf("client_attrs has a member of more than %d bytes", maxAttr)
		case isAttrName(string(m.name)):
			attrs[string(m.name)] = string(s)
		}
	}
	return attrs, nil
}

// parseExpiry reads expire_at: whole seconds since 1970, not in the past.
func parseExpiry(value []byte, now time.Time) (time.Time, error) {
	at, err := strconv.ParseInt(string(value), 10, 64)
	switch {
	case err != nil:
		return time.Time{}, errRight("expire_at must be a whole number of seconds")
	case at > now.UnixMilli()/2:
		return time.Time{}, errRight("expire_at must be in seconds; it looks like milliseconds")
	case at < now.Unix():
		return time.Time{}, errRight("expire_at is in the past")
	}
	return time.Unix(at, 0), nil
}

// parseACL takes a list of rules as it is. Whether the rules are any good is for others to say.
func parseACL(value []byte, form bool) (json.RawMessage, error) {
	if form {
		value = bytes.TrimSpace(value)
		// A list that says a name twice, or is nested too deeply, is none.
		if _, err := parseObject(nil, append(append([]byte(`{"":`), value...), '}')); err != nil || !json.Valid(value) {
			return nil, errRight("acl must be a list of rules")
		}
	}
	if len(value) == 0 || value[0] != '[' {
		return nil, errRight("acl must be a list of rules")
	}
	return bytes.Clone(value), nil
}
