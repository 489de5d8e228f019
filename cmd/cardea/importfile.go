package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cardea/internal/view"
)

// maxRecord bounds a row of a file in bytes: memory does not grow with what a file holds.
const maxRecord = 256 << 10

// rowSource reads the rows of a file, in order. The error is io.EOF at the end, or one after which nothing can be read. A row that is
// wrong by itself is one with Invalid, which never repeats what stands in it: that may be a secret (K03).
type rowSource interface {
	next() (view.ImportRow, error)
}

// textFields are the fields of a row that are one text, listFields those that are several, and numberFields its limits.
var (
	textFields = map[string]func(*view.ImportRow) *string{
		"external_id": func(r *view.ImportRow) *string { return &r.ExternalID },
		"kind":        func(r *view.ImportRow) *string { return &r.Kind },
		"principal":   func(r *view.ImportRow) *string { return &r.Principal },
		"name":        func(r *view.ImportRow) *string { return &r.Name },
		"format":      func(r *view.ImportRow) *string { return &r.Format },
		"hash":        func(r *view.ImportRow) *string { return (*string)(&r.Hash) },
		"token":       func(r *view.ImportRow) *string { return (*string)(&r.Token) },
		"id":          func(r *view.ImportRow) *string { return &r.ID },
		"project":     func(r *view.ImportRow) *string { return &r.Project },
		"owner":       func(r *view.ImportRow) *string { return &r.Owner },
		"expires_at":  func(r *view.ImportRow) *string { return &r.ExpiresAt },
		"not_before":  func(r *view.ImportRow) *string { return &r.NotBefore },
		"created_at":  func(r *view.ImportRow) *string { return &r.CreatedAt },
		"description": func(r *view.ImportRow) *string { return &r.Description },
		"status":      func(r *view.ImportRow) *string { return &r.Status },
	}
	listFields = map[string]func(*view.ImportRow) *[]string{
		"scopes":      func(r *view.ImportRow) *[]string { return &r.Scopes },
		"resources":   func(r *view.ImportRow) *[]string { return &r.Resources },
		"allowed_ips": func(r *view.ImportRow) *[]string { return &r.AllowedIPs },
		"tags":        func(r *view.ImportRow) *[]string { return &r.Tags },
	}
	numberFields = []string{"per_second", "burst", "per_month"}
)

// isRowField reports whether a column can be a field.
func isRowField(name string) bool {
	return textFields[name] != nil || listFields[name] != nil || slices.Contains(numberFields, name)
}

// rowFields lists them for messages.
func rowFields() string {
	var all []string
	for name := range textFields {
		all = append(all, name)
	}
	for name := range listFields {
		all = append(all, name)
	}
	all = append(all, numberFields...)
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// recordReader fails when more is read between two calls of renew than a record may have.
type recordReader struct {
	in   io.Reader
	left int
}

var errLongRecord = fmt.Errorf("is longer than %d bytes: is a quotation mark missing that ends a field?", maxRecord)

func (r *recordReader) renew() { r.left = maxRecord }

func (r *recordReader) Read(b []byte) (int, error) {
	if r.left <= 0 {
		return 0, errLongRecord
	}
	n, err := r.in.Read(b[:min(len(b), r.left)])
	r.left -= n
	return n, err
}

// csvRows reads CSV as RFC 4180 has it, with a row of names first.
type csvRows struct {
	bounded *recordReader
	csv     *csv.Reader
	fields  []string // of the columns; "" for one that is passed over
	base    view.ImportRow
}

// newCSVRows reads the head. mapped names fields for columns that are called otherwise; "-" passes a column over.
func newCSVRows(in io.Reader, delimiter rune, mapped map[string]string, base view.ImportRow) (*csvRows, error) {
	bounded := &recordReader{in: in}
	bounded.renew()
	buffered := bufio.NewReader(bounded)
	if bom, err := buffered.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		_, _ = buffered.Discard(3) // was just peeked at
	}
	r := &csvRows{bounded: bounded, csv: csv.NewReader(buffered), base: base}
	r.csv.Comma, r.csv.FieldsPerRecord = delimiter, -1
	head, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty: its first row names the columns")
	}
	if err != nil {
		return nil, csvFault(err)
	}
	return r, r.readHead(head, mapped)
}

func (r *csvRows) readHead(head []string, mapped map[string]string) error {
	unused := make(map[string]bool, len(mapped))
	for column := range mapped {
		unused[column] = true
	}
	var unknown []string
	seen := map[string]string{}
	for _, column := range head {
		column = strings.TrimSpace(column)
		field, named := mapped[column]
		delete(unused, column)
		if !named {
			field = strings.ToLower(column)
		}
		switch {
		case field == "-":
			field = ""
		case !isRowField(field):
			unknown = append(unknown, strconv.Quote(column))
		case seen[field] != "":
			return fmt.Errorf("the columns %q and %q are both the field %s", seen[field], column, field)
		default:
			seen[field] = column
		}
		r.fields = append(r.fields, field)
	}
	if len(unknown) > 0 {
		return usagef("the columns %s are no fields: name what they are with --map COLUMN=FIELD, or pass them over with --map COLUMN=-; the fields are %s",
			strings.Join(unknown, ", "), rowFields())
	}
	for column := range unused {
		return usagef("--map %s: the file has no such column", column)
	}
	return nil
}

// csvFault is an error of the reader without what stands in the file.
func csvFault(err error) error {
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d: %w", p.StartLine, p.Err)
	}
	return err
}

func (r *csvRows) next() (view.ImportRow, error) {
	r.bounded.renew()
	cells, err := r.csv.Read()
	row := r.base
	if p, ok := errors.AsType[*csv.ParseError](err); ok && !errors.Is(err, errLongRecord) {
		return view.ImportRow{Invalid: fmt.Sprintf("line %d: %s", p.StartLine, quoteFault(p.Err))}, nil
	}
	if err != nil {
		if errors.Is(err, errLongRecord) {
			line, _ := r.csv.FieldPos(0)
			err = fmt.Errorf("a row after line %d %w", line, err)
		}
		return row, err
	}
	line, _ := r.csv.FieldPos(0)
	if len(cells) != len(r.fields) {
		return view.ImportRow{Invalid: fmt.Sprintf("line %d: has %d columns, where the head has %d", line, len(cells), len(r.fields))}, nil
	}
	for i, cell := range cells {
		if why := setField(&row, r.fields[i], cell); why != "" {
			return view.ImportRow{Invalid: fmt.Sprintf("line %d: %s %s", line, r.fields[i], why)}, nil
		}
	}
	return row, nil
}

// quoteFault says in full what the reader says in short.
func quoteFault(err error) string {
	switch {
	case errors.Is(err, csv.ErrQuote):
		return "a quotation mark within a quoted field is written twice, and one that ends a field is followed by the delimiter"
	case errors.Is(err, csv.ErrBareQuote):
		return "a field with a quotation mark stands in quotation marks"
	}
	return err.Error()
}

// setField puts a cell into a row; the answer says what is wrong with it. An empty cell is none.
func setField(row *view.ImportRow, field, cell string) string {
	switch {
	case field == "" || cell == "":
		return ""
	case !utf8.ValidString(cell):
		return "is not UTF-8"
	case textFields[field] != nil:
		*textFields[field](row) = cell
	case listFields[field] != nil:
		*listFields[field](row) = strings.Fields(cell)
	default:
		n, err := strconv.ParseInt(cell, 10, 64)
		if err != nil || n < 0 || field != "per_month" && n > 1<<30 {
			return "is no number of requests"
		}
		limits := view.RowLimits{}
		if row.Limits != nil {
			limits = *row.Limits
		}
		switch field {
		case "per_second":
			limits.PerSecond = int(n)
		case "burst":
			limits.Burst = int(n)
		default:
			limits.PerMonth = n
		}
		row.Limits = &limits
	}
	return ""
}

// jsonRows reads one JSON object a line.
type jsonRows struct {
	in   *bufio.Reader
	line int
	base view.ImportRow
}

func newJSONRows(in io.Reader, base view.ImportRow) *jsonRows {
	buffered := bufio.NewReaderSize(in, maxRecord)
	if bom, err := buffered.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		_, _ = buffered.Discard(3)
	}
	return &jsonRows{in: buffered, base: base}
}

func (r *jsonRows) next() (view.ImportRow, error) {
	for {
		text, err := r.in.ReadSlice('\n')
		r.line++
		if errors.Is(err, bufio.ErrBufferFull) {
			return r.base, fmt.Errorf("line %d is longer than %d bytes", r.line, maxRecord)
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			row := r.base
			if why := parseRow(text, &row); why != "" {
				row = view.ImportRow{Invalid: fmt.Sprintf("line %d: %s", r.line, why)}
			}
			if errors.Is(err, io.EOF) {
				err = nil // of which the next call tells
			}
			return row, err
		}
		if err != nil {
			return r.base, err
		}
	}
}

// parseRow reads an object strictly: names as they are, each once, values of their type. What it says of one does not repeat values.
func parseRow(text []byte, row *view.ImportRow) string {
	if !utf8.Valid(text) {
		return "is not UTF-8"
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return "is no JSON object"
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, _ := t.(string)
		switch {
		case err != nil:
			return "is no JSON object"
		case seen[name]:
			return "has a field twice: " + shortName(name)
		}
		seen[name] = true
		if why := decodeField(dec, row, name); why != "" {
			return why
		}
	}
	if _, err := dec.Token(); err != nil {
		return "is no JSON object"
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return "has something after its JSON object"
	}
	return ""
}

func decodeField(dec *json.Decoder, row *view.ImportRow, name string) string {
	switch {
	case textFields[name] != nil:
		var text *string
		if dec.Decode(&text) != nil {
			return name + " is no text"
		}
		if text != nil {
			*textFields[name](row) = *text
		}
	case listFields[name] != nil:
		var items []string
		if dec.Decode(&items) != nil {
			return name + " is no list of texts"
		}
		*listFields[name](row) = items
	case name == "limits":
		var raw json.RawMessage
		var limits *view.RowLimits
		if dec.Decode(&raw) != nil {
			return "is no JSON object"
		}
		strict := json.NewDecoder(bytes.NewReader(raw))
		if strict.DisallowUnknownFields(); strict.Decode(&limits) != nil {
			return "limits has other fields than per_second, burst and per_month, or they are no numbers"
		}
		row.Limits = limits
	default:
		return "has a field that there is not: " + shortName(name)
	}
	return ""
}

// shortName is the name of a field, as far as a message needs it.
func shortName(name string) string {
	const most = 40
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return strconv.Quote(name)
}
