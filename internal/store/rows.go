package store

import (
	"database/sql"
	"encoding/json"
	"net/netip"
	"time"

	"cardea/internal/credential"
)

// scan reads the columns of a row.
type scan func(dest ...any) error

// scanAll gives each row to each and closes rows.
func scanAll(rows *sql.Rows, each func(scan) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// micros is how a time is stored: microseconds since 1970, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// instant scans a stored time.
type instant struct{ t *time.Time }

func (i instant) Scan(v any) error {
	var n sql.NullInt64
	if err := n.Scan(v); err != nil {
		return err
	}
	*i.t = fromMicros(n.Int64)
	return nil
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// blob is b, and never NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// some is b, nil if it is empty.
func some(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// encode writes a list as JSON. Nothing that is stored so can fail to encode.
func encode[T any](list []T) string {
	if len(list) == 0 {
		return "[]"
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic("store: " + err.Error())
	}
	return string(b)
}

func encodeMap(m map[string]string) string {
	if len(m) == 0 {
		return "{}"
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic("store: " + err.Error())
	}
	return string(b)
}

// list scans a JSON list; an empty one becomes nil.
type list[T any] struct{ to *[]T }

func (l list[T]) Scan(v any) error {
	*l.to = nil
	return unmarshal(v, "[]", l.to)
}

// dict scans a JSON object of texts; an empty one becomes nil.
type dict struct{ to *map[string]string }

func (d dict) Scan(v any) error {
	*d.to = nil
	return unmarshal(v, "{}", d.to)
}

func unmarshal(v any, empty string, to any) error {
	var b []byte
	switch v := v.(type) {
	case string:
		if v == empty {
			return nil
		}
		b = []byte(v)
	case []byte:
		b = v
	default:
		return credential.Errorf(credential.Internal, "a JSON column holds %T", v)
	}
	if string(b) == empty {
		return nil
	}
	return json.Unmarshal(b, to)
}

// addr scans an address; an empty one becomes the zero Addr.
type addr struct{ to *netip.Addr }

func (a addr) Scan(v any) error {
	var s sql.NullString
	if err := s.Scan(v); err != nil {
		return err
	}
	if s.String == "" {
		*a.to = netip.Addr{}
		return nil
	}
	return a.to.UnmarshalText([]byte(s.String))
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

const principalColumns = "id, org, kind, name, description, roles, attrs, disabled, created_at, deleted_at, version"

func principalArgs(p *credential.Principal) []any {
	return []any{
		p.ID, p.Org, string(p.Kind), p.Name, p.Description, encode(p.Roles), encodeMap(p.Attrs),
		number(p.Disabled), micros(p.CreatedAt), micros(p.DeletedAt), p.Version,
	}
}

func principalDest(p *credential.Principal) []any {
	return []any{
		&p.ID, &p.Org, &p.Kind, &p.Name, &p.Description,
		list[string]{&p.Roles},
		dict{&p.Attrs},
		&p.Disabled,
		instant{&p.CreatedAt},
		instant{&p.DeletedAt},
		&p.Version,
	}
}

// commonColumns are those that every credential fills. The others have a default, which is right for most credentials: for those
// they need not be written, which saves a quarter of the time that inserting many takes.
const (
	commonColumns = "id, org, kind, principal, name, description, scopes, networks, tags, project, state, " +
		"not_before, expires_at, created_at, created_by, ended_at, end_reason, proofs, version"
	credentialColumns = commonColumns + ", username, algorithm, owner, resources, parent, parent_proof, more"

	commonWidth     = 19 // number of commonColumns
	credentialWidth = 26 // number of credentialColumns
)

func appendCommon(args []any, c *credential.Credential) []any {
	return append(args,
		c.ID, c.Org, string(c.Kind), c.Principal, c.Name, c.Description, encode(c.Scopes), encode(c.Networks), encode(c.Tags),
		c.Project, string(c.State), micros(c.NotBefore), micros(c.ExpiresAt), micros(c.CreatedAt), c.CreatedBy,
		micros(c.EndedAt), c.EndReason, encodeProofs(c.Proofs), c.Version,
	)
}

func appendCredential(args []any, c *credential.Credential) []any {
	return append(appendCommon(args, c), c.Username, c.Algorithm, c.Owner, encode(c.Resources), c.Parent, c.ParentProof, encodeMore(c))
}

// common reports whether the columns that are not common hold their defaults.
func common(c *credential.Credential) bool {
	return c.Username == "" && c.Algorithm == "" && c.Owner == "" && len(c.Resources) == 0 && c.Parent == "" && c.ParentProof == 0 &&
		moreOf(c) == (rest{})
}

func credentialDest(c *credential.Credential) []any {
	return []any{
		&c.ID, &c.Org, &c.Kind, &c.Principal, &c.Name, &c.Description,
		list[string]{&c.Scopes},
		list[netip.Prefix]{&c.Networks},
		list[string]{&c.Tags},
		&c.Project, &c.State,
		instant{&c.NotBefore},
		instant{&c.ExpiresAt},
		instant{&c.CreatedAt},
		&c.CreatedBy,
		instant{&c.EndedAt},
		&c.EndReason,
		list[credential.Proof]{&c.Proofs},
		&c.Version, &c.Username, &c.Algorithm, &c.Owner,
		list[string]{&c.Resources},
		&c.Parent, &c.ParentProof,
		more{c},
	}
}

// rest is what few credentials have, as one column keeps it.
type rest struct {
	Limits        *credential.Limits `json:"limits,omitempty"`
	Documentation string             `json:"documentation,omitempty"`
	ClientName    string             `json:"client_name,omitempty"`
	Home          string             `json:"home,omitempty"`
	Avatar        string             `json:"avatar,omitempty"`

	Client *credential.ClientConfig `json:"client,omitempty"`
}

func moreOf(c *credential.Credential) rest {
	r := rest{Documentation: c.Documentation, ClientName: c.ClientName, Home: c.Home, Avatar: c.Avatar, Client: c.Client}
	if c.Limits != (credential.Limits{}) {
		r.Limits = &c.Limits
	}
	return r
}

func encodeMore(c *credential.Credential) string {
	r := moreOf(c)
	if r == (rest{}) {
		return "{}"
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic("store: " + err.Error())
	}
	return string(b)
}

// more scans what encodeMore has written.
type more struct{ to *credential.Credential }

func (m more) Scan(v any) error {
	var r rest
	if err := unmarshal(v, "{}", &r); err != nil {
		return err
	}
	m.to.Documentation, m.to.ClientName, m.to.Home, m.to.Avatar = r.Documentation, r.ClientName, r.Home, r.Avatar
	m.to.Limits, m.to.Client = credential.Limits{}, r.Client
	if r.Limits != nil {
		m.to.Limits = *r.Limits
	}
	return nil
}

// encodeProofs writes proofs with their times as every other time is kept: UTC, microseconds.
func encodeProofs(proofs []credential.Proof) string {
	kept := make([]credential.Proof, len(proofs))
	for i, p := range proofs {
		p.CreatedAt = p.CreatedAt.UTC().Truncate(time.Microsecond)
		if !p.ExpiresAt.IsZero() {
			p.ExpiresAt = p.ExpiresAt.UTC().Truncate(time.Microsecond)
		}
		kept[i] = p
	}
	return encode(kept)
}

// prefixed puts an alias before each column.
func prefixed(alias, columns string) string {
	out := alias + "."
	for i := 0; i < len(columns); i++ {
		out += columns[i : i+1]
		if columns[i] == ' ' {
			out += alias + "."
		}
	}
	return out
}
