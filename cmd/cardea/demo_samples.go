package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// sample is one value of one series; time is nanoseconds since 1970.
type sample struct {
	name  string
	time  int64
	value float64
}

// row is [name, time, value] as it was sent.
type row = []json.RawMessage

var (
	errShape   = errors.New(`the body must be JSON: [name, time, value], an array of such, or {"data":{"columns":["name","time","value"],"rows":[…]}}`)
	errColumns = errors.New("the columns must be name, time and value")
	errNoRows  = errors.New("there are no rows")
)

// samples reads what writers send, by HTTP and by MQTT, in one of three forms:
//
//	[name, time, value]
//	[[name, time, value], …]
//	{"data": {"columns": ["name", "time", "value"], "rows": [[name, time, value], …]}}
//
// An error says nothing of what was sent.
func (u *upstream) samples(body io.Reader) ([]sample, error) {
	var whole json.RawMessage
	d := json.NewDecoder(body)
	if err := d.Decode(&whole); err != nil {
		return nil, errShape
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body holds more than one JSON value")
	}
	if whole[0] == '{' {
		return u.columns(whole)
	}
	var cells row
	if err := json.Unmarshal(whole, &cells); err != nil || len(cells) == 0 {
		return nil, errShape
	}
	if cells[0][0] != '[' {
		s, err := u.sample(cells)
		return []sample{s}, err
	}
	rows := make([]row, len(cells))
	for i, raw := range cells {
		if err := json.Unmarshal(raw, &rows[i]); err != nil {
			return nil, fmt.Errorf("row %d: must be [name, time, value]", i)
		}
	}
	return u.sampleRows(rows, [3]int{0, 1, 2})
}

// columns reads the form that names its columns, in any order.
func (u *upstream) columns(whole json.RawMessage) ([]sample, error) {
	var form struct {
		Data struct {
			Columns []string
			Rows    []row
		}
	}
	if err := json.Unmarshal(whole, &form); err != nil {
		return nil, errShape
	}
	if len(form.Data.Rows) == 0 {
		return nil, errNoRows
	}
	if len(form.Data.Columns) != 3 {
		return nil, errColumns
	}
	var order [3]int
	for i, name := range []string{"name", "time", "value"} {
		order[i] = slices.IndexFunc(form.Data.Columns, func(c string) bool { return strings.EqualFold(c, name) })
		if order[i] < 0 {
			return nil, errColumns
		}
	}
	return u.sampleRows(form.Data.Rows, order)
}

// sampleRows reads rows; order says where in them name, time and value are.
func (u *upstream) sampleRows(rows []row, order [3]int) ([]sample, error) {
	all := make([]sample, len(rows))
	for i, cells := range rows {
		if len(cells) == 3 {
			cells = row{cells[order[0]], cells[order[1]], cells[order[2]]}
		}
		var err error
		if all[i], err = u.sample(cells); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return all, nil
}

func (u *upstream) sample(cells row) (s sample, err error) {
	if len(cells) != 3 {
		return s, fmt.Errorf("must be [name, time, value], not %d cells", len(cells))
	}
	if err := json.Unmarshal(cells[0], &s.name); err != nil || s.name == "" {
		return s, errors.New("the name must be a text")
	}
	if err := json.Unmarshal(cells[2], &s.value); err != nil || string(cells[2]) == "null" {
		return s, errors.New("the value must be a number")
	}
	if s.time, err = u.instant(cells[1]); err != nil {
		return s, err
	}
	return s, nil
}

// instant reads nanoseconds since 1970, a time of RFC 3339, or "now".
func (u *upstream) instant(raw json.RawMessage) (int64, error) {
	var n int64
	if err := json.Unmarshal(raw, &n); err == nil && string(raw) != "null" {
		return n, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err == nil {
		if s == "now" {
			return u.now().UnixNano(), nil
		}
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.UnixNano(), nil
		}
	}
	return 0, errors.New(`the time must be nanoseconds since 1970, a time such as 2026-01-31T12:00:00Z, or "now"`)
}
