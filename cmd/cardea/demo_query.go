package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

func (u *upstream) serveQuery(w http.ResponseWriter, r *http.Request, start time.Time) {
	q, err := queryText(w, r)
	if err == nil {
		q, err = oneSelect(q)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, nil, err.Error(), start)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryPatience)
	defer cancel()
	result, err := u.query(ctx, q)
	if err != nil {
		answer(w, http.StatusBadRequest, nil, err.Error(), start)
		return
	}
	answer(w, http.StatusOK, result, "success", start)
}

// queryText finds q in the query string, in a form or in JSON.
func queryText(w http.ResponseWriter, r *http.Request) (string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxUpstreamBody)
	if r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var body struct {
			Q string `json:"q"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return "", errors.New(`the body must be JSON: {"q":"SELECT …"}`)
		}
		return body.Q, nil
	}
	if err := r.ParseForm(); err != nil {
		return "", errors.New("the form cannot be read")
	}
	return r.Form.Get("q"), nil
}

// oneSelect accepts one statement that reads. The connection is read-only in
// any case; this gives the better message, and keeps ATTACH and PRAGMA away.
func oneSelect(q string) (string, error) {
	q = strings.TrimSpace(q)
	q = strings.TrimSpace(strings.TrimSuffix(q, ";"))
	if q == "" {
		return "", errors.New("the parameter q is missing: q=SELECT…")
	}
	word, _, _ := strings.Cut(strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r == '(' || r == '*' {
			return ' '
		}
		return r
	}, q), " ")
	if !strings.EqualFold(word, "SELECT") && !strings.EqualFold(word, "WITH") {
		return "", errors.New("only SELECT is answered here; write with POST /db/write/TABLE")
	}
	if splits(q) {
		return "", errors.New("only one statement at a time")
	}
	return q, nil
}

// splits reports whether a semicolon stands outside of quotes.
func splits(q string) bool {
	var quote rune
	for _, r := range q {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"' || r == '`':
			quote = r
		case r == '[':
			quote = ']'
		case r == ';' || r == 0:
			return true
		}
	}
	return false
}

// table of an answer.
type resultSet struct {
	Columns []string `json:"columns"`
	Types   []string `json:"types"`
	Rows    [][]any  `json:"rows"`
}

func (u *upstream) query(ctx context.Context, q string) (*resultSet, error) {
	rows, err := u.read.QueryContext(ctx, q)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	result := &resultSet{Rows: [][]any{}}
	for _, c := range columns {
		result.Columns = append(result.Columns, c.Name())
		result.Types = append(result.Types, typeOf(c.DatabaseTypeName()))
	}
	for rows.Next() {
		if len(result.Rows) == maxQueryRows {
			return nil, fmt.Errorf("more than %d rows: use LIMIT", maxQueryRows)
		}
		cells := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		result.Rows = append(result.Rows, cells)
	}
	result.typeByValue()
	return result, rows.Err()
}

// typeOf translates what a table declares.
func typeOf(declared string) string {
	switch declared {
	case "VARCHAR", "TEXT":
		return "string"
	case "BIGINT":
		return "datetime" // nanoseconds since 1970
	case "DOUBLE":
		return "double"
	case "INTEGER":
		return "int64"
	}
	return ""
}

// typeByValue names the types of expressions, which no table declares.
func (s *resultSet) typeByValue() {
	for i, t := range s.Types {
		if t != "" {
			continue
		}
		s.Types[i] = "string"
		if len(s.Rows) == 0 {
			continue
		}
		switch s.Rows[0][i].(type) {
		case int64:
			s.Types[i] = "int64"
		case float64:
			s.Types[i] = "double"
		}
	}
}
