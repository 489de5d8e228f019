package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"cardea/internal/view"
)

// oldRow is a row of an API key of "svc" that another system has hashed by SHA-256.
func oldRow(n int) view.ImportRow {
	sum := sha256.Sum256(fmt.Appendf(nil, "sk_%d", n))
	return view.ImportRow{
		ExternalID: fmt.Sprint("x", n), Kind: "api_key", Principal: "svc", Name: fmt.Sprint("old ", n), Format: "old", Hash: view.Secret(hex.EncodeToString(sum[:])), ExpiresAt: "never",
	}
}

// Rows are taken each by itself, what cannot be read of one too; a thousand long ones fit into one request, and into no other operation's (H18).
func TestImportRows(t *testing.T) {
	w := newWorld(t)
	w.local("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "svc"}).is(201)
	w.local("PUT", "/formats/old", view.PutFormat{Scheme: "sha256", Bits: 128}).is(200)
	w.local("PUT", "/formats/old", view.PutFormat{Scheme: "sha256", Bits: 40}).problem(422)
	digest := strings.Repeat("ab", 32)
	var im, again view.Import
	w.local("POST", "/imports", view.NewImport{Name: "x", Digest: digest}).is(200).into(&im)
	w.local("POST", "/imports", view.NewImport{Name: "x", Digest: digest}).is(200).into(&again)
	w.local("POST", "/imports", view.NewImport{Name: "x", Digest: "AB"}).problem(422)
	if again.ID != im.ID {
		t.Errorf("%s is not gone on with, but %s", im.ID, again.ID)
	}
	rows := make([]view.ImportRow, 1000)
	for i := range rows {
		rows[i] = oldRow(i)
		rows[i].Description = strings.Repeat("long ", 200) + "row"
		rows[i].Tags = []string{strings.Repeat("t", 60), strings.Repeat("u", 60)}
	}
	rows[1].ExpiresAt, rows[1].AllowedIPs, rows[1].Status = "tomorrow", []string{"10.0.0.1/8"}, "asleep"
	rows[2].Invalid = "line 3: has 2 columns"
	rows[3].Limits = &view.RowLimits{PerSecond: -1, PerMonth: -2}
	var out view.ImportResults
	w.local("POST", "/imports/"+im.ID+"/rows", view.ImportRows{From: 1, Rows: rows}).is(200).into(&out)
	if out.Import.Created != 997 || out.Import.Failed != 3 || len(out.Results) != 1000 {
		t.Fatalf("%+v", out.Import)
	}
	if e := out.Results[1].Errors; len(e) != 3 || e[0].Field != "allowed_ips[0]" || e[1].Field != "expires_at" || e[2].Field != "status" {
		t.Errorf("%+v", e)
	}
	if e := out.Results[2].Errors; len(e) != 1 || e[0].String() != rows[2].Invalid {
		t.Errorf("%+v", e)
	}
	if e := out.Results[3].Errors; len(e) != 2 || e[0].Field != "limits.per_second" || e[1].Field != "limits.per_month" {
		t.Errorf("%+v", e)
	}
	w.local("POST", "/imports/"+im.ID+"/rows", view.ImportRows{From: 1001, Rows: append(rows, oldRow(1))}).problem(422)
	w.local("POST", "/imports/"+im.ID+"/rows", view.ImportRows{From: 1001, Rows: []view.ImportRow{{Name: strings.Repeat("x", 9<<20)}}}).problem(413)
	w.local("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "big", Description: strings.Repeat("x", 2<<20)}).problem(413)
	w.local("POST", "/imports/"+im.ID+"/finish", nil).is(200).into(&im)
	if im.FinishedAt.IsZero() || im.Done != 1000 {
		t.Errorf("%+v", im)
	}
	if body := string(w.local("GET", "/formats/old", nil).is(200).body); strings.Contains(body, "key") {
		t.Errorf("a format shows %s", body)
	}
}

// BenchmarkImport takes rows with fast hashes over HTTP, durable, a thousand at a time.
func BenchmarkImport(b *testing.B) {
	w := newWorld(b)
	w.local("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "svc"}).is(201)
	w.local("PUT", "/formats/old", view.PutFormat{Scheme: "sha256", Bits: 128}).is(200)
	var im view.Import
	w.local("POST", "/imports", view.NewImport{Name: "x", Digest: strings.Repeat("ab", 32)}).is(200).into(&im)
	n := 0
	const batch = 1000
	for b.Loop() {
		rows := make([]view.ImportRow, batch)
		for i := range rows {
			rows[i] = oldRow(n + i)
		}
		var out view.ImportResults
		w.local("POST", "/imports/"+im.ID+"/rows", view.ImportRows{From: int64(n + 1), Rows: rows}).is(200).into(&out)
		if n += batch; out.Import.Created != int64(n) {
			b.Fatalf("%+v", out.Results[0])
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
