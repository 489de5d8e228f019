package authority

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/secret"
)

const testDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// oldToken is the n-th token of another system: strong, and always the same.
func oldToken(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "old token %d", n))
	return "sk_" + hex.EncodeToString(sum[:])
}

func hashOf(token string) secret.Text {
	return secret.NewText(hex.EncodeToString(secret.SHA256.Digest(nil, token)))
}

// plainFormat is one of tokens that are hashed by SHA-256.
func (h *house) plainFormat(name string) {
	h.t.Helper()
	_, err := h.PutFormat(h.t.Context(), h.local, NewFormat{Name: name, Scheme: "sha256", Prefix: "sk_", Bits: 256})
	h.must(err)
}

func (h *house) slowFormat(name string) {
	h.t.Helper()
	_, err := h.PutFormat(h.t.Context(), h.local, NewFormat{Name: name, Scheme: "argon2id", Prefix: "pt_", Separator: "."})
	h.must(err)
}

// oldRow is the n-th row: an API key of "svc".
func oldRow(n int) ImportRow {
	return ImportRow{
		NewCredential: NewCredential{Kind: credential.APIKey, Principal: "svc", Name: fmt.Sprint("old ", n), Never: true},
		Format:        "old", Hash: hashOf(oldToken(n)), ExternalID: fmt.Sprint("x", n),
	}
}

func (h *house) startImport(total int64) credential.Import {
	h.t.Helper()
	im, err := h.StartImport(h.t.Context(), h.local, NewImport{Name: "old.csv", Digest: testDigest, Total: total})
	h.must(err)
	return im
}

func (h *house) importRows(id string, from int64, o ImportOptions, rows ...ImportRow) (credential.Import, []RowResult) {
	h.t.Helper()
	im, results, err := h.ImportRows(h.t.Context(), h.local, id, from, o, rows)
	h.must(err)
	return im, results
}

func statuses(results []RowResult) string {
	out := make([]string, len(results))
	for i, r := range results {
		out[i] = string(r.Status)
		for _, e := range r.Errors {
			out[i] += ":" + e.Field
		}
	}
	return strings.Join(out, " ")
}

// BenchmarkImport takes rows with fast hashes, durable, a thousand at a time.
func BenchmarkImport(b *testing.B) {
	h := newHouse(b)
	h.principal(credential.Service, "svc")
	h.plainFormat("old")
	im := h.startImport(0)
	n := 0
	const batch = 1000
	for b.Loop() {
		rows := make([]ImportRow, batch)
		for i := range rows {
			rows[i] = oldRow(n + i)
		}
		_, results := h.importRows(im.ID, int64(n+1), ImportOptions{}, rows...)
		if results[0].Status != RowCreated {
			b.Fatalf("%+v", results[0])
		}
		n += batch
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// C05: the same rows twice change nothing, whether in one import, in the next or in the same request.
func TestSameRowsTwice(t *testing.T) {
	h := newHouse(t)
	h.principal(credential.Service, "svc")
	h.plainFormat("old")
	h.slowFormat("slow")
	slow := oldRow(7)
	slow.Format, slow.Hash, slow.Token = "slow", secret.Text{}, secret.NewText("pt_seven.weak")
	rows := []ImportRow{oldRow(1), oldRow(2), oldRow(1), slow, slow}
	im := h.startImport(5)
	im, results := h.importRows(im.ID, 1, ImportOptions{}, rows...)
	if got := statuses(results); got != "created created unchanged created unchanged" || im.Created != 3 || im.Unchanged != 2 || im.Failed != 0 || im.Done != 5 {
		t.Fatalf("%s, %+v", got, im)
	}
	if results[2].ID != results[0].ID || results[4].ID != results[3].ID || results[0].ID == "" || results[0].ID == results[1].ID {
		t.Errorf("%+v", results)
	}
	for i, token := range []string{oldToken(1), oldToken(2), "pt_seven.weak"} {
		if why := h.knock(token); why != credential.OK {
			t.Errorf("token %d: %s", i, why)
		}
	}
	before := h.head()
	again, repeated := h.importRows(im.ID, 1, ImportOptions{}, rows...) // rows that are done already
	if got := statuses(repeated); got != "unchanged unchanged unchanged unchanged unchanged" || again != im {
		t.Errorf("%s, %+v", got, again)
	}
	if h.head() != before {
		t.Error("a repeated request has left events")
	}
	done, err := h.FinishImport(t.Context(), h.local, im.ID)
	h.must(err)
	if done.FinishedAt.IsZero() {
		t.Error("not finished")
	}
	next := h.startImport(5)
	if next.ID == im.ID {
		t.Fatal("a finished import is gone on with")
	}
	before = h.head()
	next, repeated = h.importRows(next.ID, 1, ImportOptions{}, rows...)
	if got := statuses(repeated); got != "unchanged unchanged unchanged unchanged unchanged" || next.Unchanged != 5 {
		t.Errorf("%s, %+v", got, next)
	}
	for i := range results {
		if repeated[i].ID != results[i].ID {
			t.Errorf("row %d is %s and then %s", i, results[i].ID, repeated[i].ID)
		}
	}
	if h.head() != before {
		t.Errorf("the same file has left events: %s", types(h.events(before)))
	}
}
