package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

// maxDepth is how deep JSON may nest; what the API takes is less than ten deep (H17).
const maxDepth = 32

// strictNames makes field names case-sensitive. The framework has this as a
// variable of its package, so it is set once and before any server runs.
var strictNames = sync.OnceFunc(func() { huma.ValidateStrictCasing = true })

// format is JSON read strictly: a member that is there twice is an error,
// because two readers could see two different requests.
func format() huma.Format {
	return huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
}

// unmarshal is called twice for a body: first for any, to validate it, and then for the type.
func unmarshal(data []byte, v any) error {
	if _, first := v.(*any); first {
		if err := checkJSON(data); err != nil {
			return err
		}
	}
	return json.Unmarshal(data, v)
}

// checkJSON reads one JSON text without building it.
func checkJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := checkValue(dec, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the JSON text ends too early")
		}
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the JSON text")
	}
	return nil
}

func checkValue(dec *json.Decoder, depth int) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	d, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("the JSON text nests deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for dec.More() {
		if d == '{' {
			if err := checkName(dec, seen); err != nil {
				return err
			}
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

func checkName(dec *json.Decoder, seen map[string]bool) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	name, _ := t.(string)
	if seen[name] {
		return errors.New("a member is there twice: " + shorten(name))
	}
	seen[name] = true
	return nil
}

func shorten(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return fmt.Sprintf("%q", s)
}
