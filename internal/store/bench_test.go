package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"cardea/internal/credential"
	"cardea/internal/store"
	"cardea/internal/testkit"
)

func onBothDurable(b *testing.B, run func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) { run(b, open(b, store.Config{URL: sqliteURL(b)})) })
	b.Run("postgres", func(b *testing.B) {
		run(b, open(b, store.Config{URL: testkit.NewPostgres(b, true).Database(b)}))
	})
}

// BenchmarkCommit creates credentials one by one, each durable: one caller, then eight.
func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			onBothDurable(b, func(b *testing.B, s *store.Store) {
				p := device(1)
				commit(b, s, credential.CreatePrincipal{Principal: p})
				var n atomic.Int64
				b.ResetTimer()
				var group sync.WaitGroup
				for range callers {
					group.Go(func() {
						for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
							if _, err := s.Commit(context.Background(), change(credential.CreateCredential{Credential: scattered(int(i), p)})); err != nil {
								b.Error(err)
							}
						}
					})
				}
				group.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "credentials/s")
			})
		})
	}
}

// scattered is a token whose id is as far from the one before as random ones are.
func scattered(n int, of credential.Principal) credential.Credential {
	c := token(n, of)
	c.ID = fmt.Sprintf("%012d", n*618_033_988_749%1_000_000_000_000)
	return c
}

const batch = 500

// BenchmarkBatch creates credentials in batches of 500, beside the bare insertion of the
// same rows into the same table, a prepared statement each, in one commit.
func BenchmarkBatch(b *testing.B) {
	onBothDurable(b, func(b *testing.B, s *store.Store) {
		p := device(1)
		commit(b, s, credential.CreatePrincipal{Principal: p})
		n := 0
		b.Run("commit", func(b *testing.B) {
			for b.Loop() {
				ops := make([]credential.Op, batch)
				for i := range ops {
					n++
					ops[i] = credential.CreateCredential{Credential: scattered(n, p)}
				}
				commit(b, s, ops...)
			}
			b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "credentials/s")
		})
		b.Run("bare", func(b *testing.B) {
			for b.Loop() {
				rows := make([][]any, batch)
				for i := range rows {
					n++
					c := scattered(n, p)
					rows[i] = store.CredentialArgs(&c)
				}
				noErr(b, s.Raw(b.Context(), func(c *sql.Conn) error { return bareInsert(c, s.CredentialInsert(), rows) }))
			}
			b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "credentials/s")
		})
	})
}

func bareInsert(c *sql.Conn, insert string, rows [][]any) error {
	ctx := context.Background()
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	st, err := tx.PrepareContext(ctx, insert)
	if err != nil {
		return err
	}
	defer st.Close()
	for _, row := range rows {
		if _, err := st.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// BenchmarkLookup is what a gate asks on a miss.
func BenchmarkLookup(b *testing.B) {
	onBothDurable(b, func(b *testing.B, s *store.Store) {
		p := device(1)
		ops := []credential.Op{credential.CreatePrincipal{Principal: p}}
		for i := range 1000 {
			ops = append(ops, credential.CreateCredential{Credential: token(i, p)})
		}
		commit(b, s, ops...)
		i := 0
		for b.Loop() {
			if _, err := s.Credential(b.Context(), fmt.Sprintf("%012d", i%1000)); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkImport takes over tokens in steps of 1000, each with its event and with how far the import is, in one commit.
func BenchmarkImport(b *testing.B) {
	onBothDurable(b, func(b *testing.B, s *store.Store) {
		const step = 1000
		p, f := device(1), legacy("vendor")
		done := run(1)
		commit(b, s, credential.CreatePrincipal{Principal: p}, credential.PutTokenFormat{TokenFormat: f}, credential.PutImport{Import: done})
		for b.Loop() {
			before := done.Done
			done.Done += step
			commit(b, s, append(importBatch(int(before), step, p, f), credential.PutImport{Import: done, Before: before})...)
		}
		b.ReportMetric(float64(step*b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}
