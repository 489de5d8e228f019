package credential

import (
	"context"
	"io"
)

// Dumper writes everything a database holds, as of one moment, in a form that
// both databases can load.
type Dumper interface {
	// Dump writes NDJSON: a header line, then a line for each row. Usage and refusals are included.
	Dump(ctx context.Context, w io.Writer) error
}
