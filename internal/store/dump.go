package store

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"cardea/internal/credential"
)

// A dump is NDJSON, the same from both databases: a header, a line for each row,
// and a trailer, without which it was cut off.
//
//	{"cardea_dump":1,"schema":1,"revision":42,"at":"2026-11-22T10:00:00Z"}
//	{"table":"principals","row":{"id":"P…","org":"default",…}}
//	{"end":1,"rows":1234}
//
// Numbers are numbers, texts are strings, bytes are strings in base64.
const dumpFormat = 1

type header struct {
	Dump     int       `json:"cardea_dump"`
	Schema   int       `json:"schema"`
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`
}

type trailer struct {
	End  int   `json:"end"`
	Rows int64 `json:"rows"`
}

// form is what a column holds.
type form byte

const (
	textForm   form = 't'
	jsonForm   form = 'j' // text that is JSON
	numberForm form = 'n'
	bytesForm  form = 'b'
)

// table describes a table for dumping and loading.
type table struct {
	name    string
	order   string // its primary key
	columns []column
}

type column struct {
	name  string
	form  form
	since int // the version of the schema that it came with; dumps of earlier ones lack it, and it is empty
}

// empty is the value of a column that a dump lacks.
func (c column) empty() json.RawMessage {
	switch {
	case c.form == numberForm:
		return json.RawMessage("0")
	case c.form == jsonForm && c.name == "more":
		return json.RawMessage(`"{}"`)
	case c.form == jsonForm:
		return json.RawMessage(`"[]"`)
	}
	return json.RawMessage(`""`)
}

// describe makes a table of a list of columns; those without ":FORM" are texts; "@N" before it is the version
// of the schema that a column came with, where that is not the first.
func describe(name, order, columns string) table {
	t := table{name: name, order: order}
	for _, c := range strings.Fields(columns) {
		base, f, _ := strings.Cut(c, ":")
		if f == "" {
			f = string(textForm)
		}
		base, since, _ := strings.Cut(base, "@")
		n, _ := strconv.Atoi(since)
		t.columns = append(t.columns, column{base, form(f[0]), n})
	}
	return t
}

// names returns the columns as a list in a statement.
func (t table) names() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// tables returns every table but the one with the version of the schema, each after those that it refers to.
func tables() []table {
	return []table{
		describe("principals", "id", "id org kind name description roles:j attrs:j disabled:n created_at:n deleted_at:n version:n"),
		describe("credentials", "id", "id org kind principal name description scopes:j networks:j tags:j project state not_before:n expires_at:n created_at:n created_by ended_at:n end_reason proofs:j version:n username@2 algorithm@2 owner@3 resources@3:j parent@3 parent_proof@3:n more@3:j"),
		describe("scopes", "org, name", "org name description rules:j built_in:n version:n"),
		describe("roles", "org, name", "org name description scopes:j built_in:n version:n"),
		describe("routes", "prefix", "prefix upstream created_at:n version:n query_key@3:n"),
		describe("authenticators", "id", "id org type listener enabled:n precondition rank:n scopes:j allow_superuser:n deny_on_failure:n sealed:b created_at:n version:n issuer@4"),
		describe("orgs", "name", "name description resources:j disabled:n created_at:n version:n"),
		describe("projects", "org, name", "org name description resources:j created_at:n version:n"),
		describe("kind_policies", "org, kind", "org kind rules:j version:n"),
		describe("token_formats", "org, name", "org name scheme prefix id_len:n separator bits:n sealed:b created_at:n version:n"),
		describe("lookups", "lookup", "lookup credential org format"),
		describe("webhooks", "id", "id org url description types:j enabled:n trouble sealed:b created_at:n version:n"),
		describe("deliveries", "webhook, seq", "webhook seq:n state attempts:n next_at:n trouble created_at:n done_at:n"),
		describe("avatars", "credential", "credential png:b"),
		describe("imports", "id", "id org name digest total:n done:n created:n unchanged:n failed:n started_at:n updated_at:n finished_at:n made_by"),
		describe("usage_slices", "credential, day, by_what, value", "credential day:n by_what value uses:n"),
		describe("exercised", "credential, scope", "credential scope last_at:n"),
		describe("sightings", "credential, by_what, value", "credential by_what value first_at:n last_at:n"),
		describe("meters", "credential, node, month", "credential node month:n used:n at:n"),
		describe("keys", "id", "id purpose alg wrapper sealed:b public:b created_at:n retired_at:n active_at@4:n revoked_at@4:n"),
		describe("apis", "org, name", "org name audience description scopes:j token_life:n alg introspectors:j created_at:n version:n"),
		describe("denied_tokens", "id, org", "id org credential at:n until:n"),
		describe("settings", "name", "name value"),
		describe("serials", "serial", "serial made_for reserved_at:n credential settled_at:n"),
		describe("events", "seq", "seq:n id at:n org type subject_kind subject_id subject_name actor_principal actor_credential actor_source actor_door actor_request reason detail:j prev:b hash:b"),
		describe("head", "one", "one:n seq:n hash:b"),
		describe("usage", "credential, proof", "credential proof:n uses:n first_at:n last_at:n source"),
		describe("refusals", "hour, credential, reason, door, source", "hour:n credential reason door source times:n first_at:n last_at:n"),
		describe("replies", "name", "name request:b sealed:b expires_at:n"),
		describe("once", "name", "name expires_at:n"),
	}
}

// Dump implements [credential.Dumper]. All of it is one state of the database; writing goes on meanwhile.
func (s *Store) Dump(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<16)
	err := s.snapshot(ctx, func(tx *sql.Tx) error {
		h := header{Dump: dumpFormat, Schema: schemaVersion, At: s.now().UTC()}
		if err := tx.QueryRowContext(ctx, "SELECT seq FROM head WHERE one = 1").Scan(&h.Revision); err != nil {
			return err
		}
		if err := writeLine(out, h); err != nil {
			return err
		}
		var rows int64
		for _, t := range tables() {
			n, err := dumpTable(ctx, tx, out, t)
			if err != nil {
				return err
			}
			rows += n
		}
		return writeLine(out, trailer{End: dumpFormat, Rows: rows})
	})
	if err != nil {
		return err
	}
	return flushed(out.Flush())
}

func writeLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return flushed(err)
}

// flushed tells errors of the dump's writer from errors of the database.
func flushed(err error) error {
	if err == nil {
		return nil
	}
	return &credential.Error{Kind: credential.Internal, Message: "the dump cannot be written", Err: err}
}

func dumpTable(ctx context.Context, tx *sql.Tx, w io.Writer, t table) (n int64, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+t.names()+" FROM "+t.name+" ORDER BY "+t.order)
	if err != nil {
		return 0, err
	}
	dest := make([]any, len(t.columns))
	for i, c := range t.columns {
		switch c.form {
		case numberForm:
			dest[i] = new(int64)
		case bytesForm:
			dest[i] = new([]byte)
		default:
			dest[i] = new(string)
		}
	}
	var line []byte
	err = scanAll(rows, func(row scan) error {
		if err := row(dest...); err != nil {
			return err
		}
		n++
		line = append(line[:0], `{"table":"`+t.name+`","row":{`...)
		for i, c := range t.columns {
			if i > 0 {
				line = append(line, ',')
			}
			line = append(line, `"`+c.name+`":`...)
			if line, err = appendValue(line, dest[i]); err != nil {
				return err
			}
		}
		_, err := w.Write(append(line, "}}\n"...))
		return flushed(err)
	})
	return n, err
}

func appendValue(line []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case *int64:
		return strconv.AppendInt(line, *v, 10), nil
	case *[]byte:
		line = append(line, '"')
		line = base64.StdEncoding.AppendEncode(line, *v)
		return append(line, '"'), nil
	}
	b, err := json.Marshal(v)
	return append(line, b...), err
}
