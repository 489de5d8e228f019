package jobs

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

// Notice is what people and programs outside are told of one event. All its texts are printable, on one line and short, and what looks
// like a token is taken out: a notice goes through other people's hands.
type Notice struct {
	Type string
	At   time.Time
	Data Data
}

// Data is the part of a notice that says what has happened. Its fields are those of an event in the API.
type Data struct {
	ID      string            `json:"id"`
	Seq     int64             `json:"seq,omitzero"` // 0 for what is no event of the audit log
	Org     string            `json:"org"`
	Subject Subject           `json:"subject"`
	Actor   Actor             `json:"actor"`
	Reason  string            `json:"reason,omitempty"`
	Detail  map[string]string `json:"detail,omitempty"`
}

// Subject is what a notice is about.
type Subject struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Actor is who did it.
type Actor struct {
	Principal  string `json:"principal"`
	Credential string `json:"credential,omitempty"`
	Source     string `json:"source,omitempty"`
	Door       string `json:"door,omitempty"`
}

// Bounds of a notice, so that it stays below the 20 KB that Standard Webhooks recommends.
const (
	maxNoticeText   = 200 // bytes
	maxNoticeKey    = 64
	maxNoticeDetail = 24 // entries, by name
)

// NewNotice makes the notice of an event. Of details that are more than fit, the first by name are told.
func NewNotice(e *credential.Event) Notice {
	return Notice{Type: tell(e.Type, maxNoticeKey), At: e.At.UTC(), Data: Data{
		ID:      tell(e.ID, maxNoticeKey),
		Seq:     e.Seq,
		Org:     tell(e.Org, maxNoticeText),
		Subject: Subject{Kind: tell(e.Subject.Kind, maxNoticeKey), ID: tell(e.Subject.ID, maxNoticeText), Name: tell(e.Subject.Name, maxNoticeText)},
		Actor: Actor{
			Principal: tell(e.Actor.Principal, maxNoticeText), Credential: tell(e.Actor.Credential, maxNoticeText),
			Source: tell(e.Actor.Source, maxNoticeText), Door: tell(e.Actor.Door, maxNoticeKey),
		},
		Reason: tell(e.Reason, maxNoticeText),
		Detail: tellDetail(e.Detail),
	}}
}

func tellDetail(all map[string]string) map[string]string {
	if len(all) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(all))
	told := make(map[string]string, min(len(names), maxNoticeDetail))
	for _, name := range names[:min(len(names), maxNoticeDetail)] {
		told[tell(name, maxNoticeKey)] = tell(all[name], maxNoticeText)
	}
	return told
}

// tell is a text as others may have it, in at most so many bytes.
func tell(s string, most int) string {
	s = secret.Redact(s) // before the cut, which could leave a part of a token
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) { // that is, line ends and what turns the direction of writing too
			return '?'
		}
		return r
	}, s)
	const more = "…"
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len(more)], "") + more
}

// Body is the notice as a webhook's body.
func (n Notice) Body() ([]byte, error) {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false) // it is no HTML, and shorter
	err := w.Encode(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"` // RFC 3339, of the event
		Data      Data      `json:"data"`
	}{n.Type, n.At, n.Data})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
