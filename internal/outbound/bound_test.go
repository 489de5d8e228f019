package outbound

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
)

// 64 KiB are taken and a byte more is not, whether the end is told with the last byte or after it.
func TestAnswerBound(t *testing.T) {
	for n, want := range map[int]error{maxBody: nil, maxBody + 1: errTooLarge, maxBody + 2: errTooLarge} {
		for name, body := range map[string]io.Reader{"after": bytes.NewReader(make([]byte, n)), "with": iotest.DataErrReader(bytes.NewReader(make([]byte, n)))} {
			var r reply
			_, err := r.take(&http.Response{StatusCode: 200, Body: io.NopCloser(body)})
			if !errors.Is(err, want) || want == nil && len(r.body) != n {
				t.Errorf("%d bytes, end told %s the last: %d taken, %v", n, name, len(r.body), err)
			}
		}
	}
}
