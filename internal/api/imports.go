package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
	"cardea/internal/credential"
	"cardea/internal/view"
)

// maxRowsBody is for a thousand rows.
const maxRowsBody = 8 << 20

type putFormatIn struct {
	NameIn
	MatchIn
	BodyIn[view.PutFormat]
}

type importRowsIn struct {
	IDIn
	BodyIn[view.ImportRows]
}

type importsIn struct {
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

type (
	formatOut  = reply[view.Format]
	formatsOut = reply[view.Page[view.Format]]
	importOut  = reply[view.Import]
	importsOut = reply[view.Page[view.Import]]
	resultsOut = reply[view.ImportResults]
	triedOut   = reply[view.TriedResults]
)

const importRight = "credentials:import on /credentials/*"

func (s *server) formats() {
	auth := s.api.Authority
	handle(s, op{
		id: "listFormats", method: http.MethodGet, path: "/formats", summary: "List the formats of tokens that were made elsewhere", right: importRight,
	}, func(ctx context.Context, c *caller, _ *struct{}) (*formatsOut, error) {
		list, err := auth.Formats(ctx, c.Caller)
		return answer(view.NewPage(list, "", view.FromFormat)), err
	})
	handle(s, op{
		id: "getFormat", method: http.MethodGet, path: "/formats/{name}", summary: "Show a format of tokens", right: importRight,
	}, func(ctx context.Context, c *caller, in *NameIn) (*formatOut, error) {
		return tokenFormat(auth.Format(ctx, c.Caller, in.Name))
	})
	handle(s, op{
		id: "putFormat", method: http.MethodPut, path: "/formats/{name}",
		summary: "Say how tokens look that were made elsewhere, so that they can be imported; of a format that exists only bits can be changed",
		right:   importRight, example: `{"scheme":"sha256","prefix":"sk_live_","bits":128}`,
	}, func(ctx context.Context, c *caller, in *putFormatIn) (*formatOut, error) {
		b := in.Body
		n := authority.NewFormat{
			Name: in.Name, Scheme: b.Scheme, Prefix: b.Prefix, IDLen: b.IDLength, Separator: b.Separator, Bits: b.Bits, Key: authority.Password(b.Key.Reveal()),
		}
		var err error
		n.Version, err = in.current(func() (int64, error) { f, err := auth.Format(ctx, c.Caller, in.Name); return f.Version, err })
		if err != nil {
			return nil, err
		}
		return tokenFormat(auth.PutFormat(ctx, c.Caller, n))
	})
	handle(s, op{
		id: "deleteFormat", method: http.MethodDelete, path: "/formats/{name}", summary: "Remove a format that no credential is of, those that have ended not counted",
		right: importRight, status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *NameIn) (*empty, error) {
		return nil, auth.DeleteFormat(ctx, c.Caller, in.Name)
	})
}

func tokenFormat(f credential.TokenFormat, err error) (*formatOut, error) {
	return tagged(view.FromFormat(f), f.Version), err
}

func (s *server) imports() {
	auth := s.api.Authority
	const each = importRight + " and on that of each principal; the caller must have what the credentials may"
	const row = `{"kind":"api_key","principal":"billing","name":"invoices","format":"legacy","hash":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}`
	handle(s, op{
		id: "startImport", method: http.MethodPost, path: "/imports", summary: "Begin an import of tokens that were made elsewhere, or find the unfinished one of the same digest",
		right: importRight, example: `{"name":"keys.csv","digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","total":100000}`,
	}, func(ctx context.Context, c *caller, in *BodyIn[view.NewImport]) (*importOut, error) {
		im, err := auth.StartImport(ctx, c.Caller, authority.NewImport{Name: in.Body.Name, Digest: in.Body.Digest, Total: in.Body.Total})
		return answer(view.FromImport(im)), err
	})
	handle(s, op{
		id: "listImports", method: http.MethodGet, path: "/imports", summary: "List imports, the newest first", right: importRight,
	}, func(ctx context.Context, c *caller, in *importsIn) (*importsOut, error) {
		list, err := auth.Imports(ctx, c.Caller, in.Limit)
		return answer(view.NewPage(list, "", view.FromImport)), err
	})
	handle(s, op{
		id: "getImport", method: http.MethodGet, path: "/imports/{id}", summary: "Show how far an import has come", right: importRight,
	}, func(ctx context.Context, c *caller, in *IDIn) (*importOut, error) {
		im, err := auth.Import(ctx, c.Caller, in.ID)
		return answer(view.FromImport(im)), err
	})
	handle(s, op{
		id: "importRows", method: http.MethodPost, path: "/imports/{id}/rows", maxBody: maxRowsBody,
		summary: "Take up to 1000 rows of an import; a row that is wrong does not stop the others. What is answered is stored",
		right:   each, example: `{"from":1,"rows":[` + row + `]}`,
	}, func(ctx context.Context, c *caller, in *importRowsIn) (*resultsOut, error) {
		im, results, err := auth.ImportRows(ctx, c.Caller, in.ID, in.Body.From, importOptions(in.Body.Options), importRows(in.Body.Rows))
		return answer(view.ImportResults{Import: view.FromImport(im), Results: importResults(results)}), err
	})
	handle(s, op{
		id: "finishImport", method: http.MethodPost, path: "/imports/{id}/finish", summary: "End an import whose rows have all been dealt with", right: importRight,
	}, func(ctx context.Context, c *caller, in *IDIn) (*importOut, error) {
		im, err := auth.FinishImport(ctx, c.Caller, in.ID)
		return answer(view.FromImport(im)), err
	})
	handle(s, op{
		id: "tryImport", method: http.MethodPost, path: "/imports/try", maxBody: maxRowsBody,
		summary: "Say what would become of up to 1000 rows, and make nothing", right: each, example: `{"rows":[` + row + `]}`,
	}, func(ctx context.Context, c *caller, in *BodyIn[view.TryImport]) (*triedOut, error) {
		results, err := auth.TryImport(ctx, c.Caller, importOptions(in.Body.Options), importRows(in.Body.Rows))
		return answer(view.TriedResults{Results: importResults(results)}), err
	})
}

func importOptions(o view.ImportOptions) authority.ImportOptions {
	return authority.ImportOptions{
		CreatePrincipals: o.CreatePrincipals, PrincipalKind: credential.PrincipalKind(o.PrincipalKind), Roles: o.Roles, SkipExpired: o.Expired == "skip",
	}
}

func importRows(rows []view.ImportRow) []authority.ImportRow {
	out := make([]authority.ImportRow, len(rows))
	for i := range rows {
		out[i] = importRow(&rows[i])
	}
	return out
}

// importRow converts; what cannot be read is a problem of the row.
func importRow(r *view.ImportRow) authority.ImportRow {
	var p credential.Problems
	if r.Invalid != "" {
		p.Add("row", "%s", r.Invalid)
	}
	row := authority.ImportRow{
		ExternalID: r.ExternalID, Format: r.Format, ID: r.ID, CreatedAt: view.ParseInstant("created_at", r.CreatedAt, &p),
		Hash: authority.Password(r.Hash.Reveal()), Token: authority.Password(r.Token.Reveal()),
		NewCredential: authority.NewCredential{
			Kind: credential.Kind(r.Kind), Principal: r.Principal, Name: r.Name, Description: r.Description, Scopes: r.Scopes, Tags: r.Tags,
			Networks: view.ParseNetworks("allowed_ips", r.AllowedIPs, &p), Project: r.Project, Owner: r.Owner, Resources: r.Resources, Limits: r.Limits.From(),
			NotBefore: view.ParseInstant("not_before", r.NotBefore, &p),
		},
	}
	if row.Never = r.ExpiresAt == "never"; !row.Never {
		row.ExpiresAt = view.ParseInstant("expires_at", r.ExpiresAt, &p)
	}
	switch r.Status {
	case "", "active":
	case "revoked":
		row.Revoked = true
	default:
		p.Add("status", "is neither active nor revoked")
	}
	row.Problems = p
	return row
}

func importResults(results []authority.RowResult) []view.ImportResult {
	out := make([]view.ImportResult, len(results))
	for i, r := range results {
		out[i] = view.ImportResult{Row: r.Row, ExternalID: r.ExternalID, Status: string(r.Status), ID: r.ID, Note: r.Note}
		for _, e := range r.Errors {
			out[i].Errors = append(out[i].Errors, view.ImportError{Field: e.Field, Message: e.Message})
		}
	}
	return out
}
