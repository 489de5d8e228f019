package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

// importFlags are those of all imports.
type importFlags struct {
	options view.ImportOptions
	dry     bool
	results string
	note    func(*view.ImportResult) // adds what this side knows of a row; nil for nothing
}

func (f *importFlags) add(c *cobra.Command) {
	f.addCommon(c)
	c.Flags().BoolVar(&f.options.CreatePrincipals, "create-principals", false, "make the principals that rows name and that do not exist")
	c.Flags().StringVar(&f.options.PrincipalKind, "principal-kind", "", "of those: `KIND` user, service or device (default: that which the kind of the row is for)")
	c.Flags().StringArrayVar(&f.options.Roles, "role", nil, "`NAME` of a role that those get (repeatable)")
}

// addCommon adds those that do not depend on what is imported.
func (f *importFlags) addCommon(c *cobra.Command) {
	c.Flags().StringVar(&f.options.Expired, "expired", "keep", "`WHAT` becomes of rows that have ended already: keep or skip")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "say what would become of the rows, and make nothing")
	c.Flags().StringVar(&f.results, "results", "", "`FILE` that gets a line of JSON for each row; the same command goes on with it")
}

func (f *importFlags) check() error {
	switch {
	case f.options.Expired != "keep" && f.options.Expired != "skip":
		return usagef("--expired must be keep or skip")
	case f.dry && f.results != "":
		return usagef("--dry-run makes no results to keep: leave --results out")
	case !f.options.CreatePrincipals && (f.options.PrincipalKind != "" || len(f.options.Roles) > 0):
		return usagef("--principal-kind and --role are for --create-principals")
	}
	return nil
}

func (a *app) importCommand() *cobra.Command {
	var f importFlags
	var typ, delimiter string
	var mapped []string
	var base view.ImportRow
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Take over tokens that were made elsewhere, or what another system has kept of them",
		Long: "Take over tokens that were made elsewhere, from CSV with a row of names first, or a JSON object a line. Their holders go on using them. Each\n" +
			"row gets a result of its own; the same file twice changes nothing; a run that was stopped goes on when the same command is given again.",
		Example: "  cardea format put legacy --scheme sha256 --prefix sk_live_ --bits 128\n  cardea import keys.csv --format-name legacy --kind api_key --results results.ndjson",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := textFile(args[0], typ, delimiter, mapped, base)
			if err != nil {
				return err
			}
			return a.runImport(cmd.Context(), file, f)
		},
	}
	f.add(c)
	c.Flags().StringVar(&typ, "type", "", "`TYPE` of the file: csv or ndjson (default: by its name)")
	c.Flags().StringVar(&delimiter, "delimiter", ",", "CSV: `CHARACTER` between columns; tab for tabulators")
	c.Flags().StringArrayVar(&mapped, "map", nil, "CSV: `COLUMN=FIELD`, for a column that is not called as its field; COLUMN=- passes it over (repeatable)")
	c.Flags().StringVar(&base.Format, "format-name", "", "`NAME` of the format of rows that name none")
	c.Flags().StringVar(&base.Kind, "kind", "", "`KIND` of rows that name none: api_key, pat or device_token")
	c.AddCommand(a.importMachbase(), a.importList())
	return c
}

// textFile is a file of rows, by what was said of it.
func textFile(path, typ, delimiter string, mapped []string, base view.ImportRow) (rowFile, error) {
	if typ == "" {
		switch strings.ToLower(filepath.Ext(path)) {
		case ".csv", ".tsv", ".txt":
			typ = "csv"
		case ".ndjson", ".jsonl", ".json":
			typ = "ndjson"
		}
	}
	fields := map[string]string{}
	for _, m := range mapped {
		column, field, ok := strings.Cut(m, "=")
		if !ok || field != "-" && !isRowField(field) {
			return rowFile{}, usagef("--map %s: must be COLUMN=FIELD or COLUMN=-; the fields are %s", m, rowFields())
		}
		fields[column] = field
	}
	if delimiter == "tab" {
		delimiter = "\t"
	}
	comma, size := utf8.DecodeRuneInString(delimiter)
	if size != len(delimiter) || comma == utf8.RuneError || strings.ContainsRune("\"\r\n", comma) {
		return rowFile{}, usagef("--delimiter must be one character, or tab")
	}
	var reader func(io.Reader) (rowSource, error)
	switch typ {
	case "csv":
		reader = func(in io.Reader) (rowSource, error) { return newCSVRows(in, comma, fields, base) }
	case "ndjson":
		if len(mapped) > 0 {
			return rowFile{}, usagef("--map is for CSV")
		}
		reader = func(in io.Reader) (rowSource, error) { return newJSONRows(in, base), nil }
	default:
		return rowFile{}, usagef("what is in %s is not known by its name: say --type csv or --type ndjson", path)
	}
	return rowFile{name: filepath.Base(path), open: func() (rowSource, io.Closer, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		rows, err := reader(f)
		if err != nil {
			f.Close()
			return nil, nil, err
		}
		return rows, f, nil
	}}, nil
}

// runImport runs an import and says what became of it.
func (a *app) runImport(ctx context.Context, file rowFile, f importFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	r := &importRun{a: a, c: c, file: file, options: f.options, dry: f.dry, results: f.results, extra: f.note}
	if err := r.do(ctx); err != nil {
		return err
	}
	if err := a.show(r.im, func(w io.Writer) error {
		made := "created"
		if r.dry {
			made = "would be created"
		}
		_, err := fmt.Fprintf(w, "%d rows: %d %s, %d unchanged, %d failed\n", r.im.Done, r.im.Created, made, r.im.Unchanged, r.im.Failed)
		return err
	}); err != nil {
		return err
	}
	if r.im.Failed > 0 {
		return fmt.Errorf("%d of %d rows failed", r.im.Failed, r.im.Done)
	}
	return nil
}

func (a *app) importList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List imports, the newest first",
		Example: "  cardea import list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var list view.Page[view.Import]
			if err := c.get(cmd.Context(), pathImports, &list); err != nil {
				return err
			}
			return a.show(list.Items, func(w io.Writer) error {
				cells := make([][]string, len(list.Items))
				for i, im := range list.Items {
					cells[i] = []string{
						im.ID, fmt.Sprint(im.Total), fmt.Sprint(im.Done), fmt.Sprint(im.Created), fmt.Sprint(im.Unchanged), fmt.Sprint(im.Failed),
						when(im.StartedAt), when(im.FinishedAt), im.Name,
					}
				}
				return table(w, []string{"ID", "ROWS", "DONE", "CREATED", "UNCHANGED", "FAILED", "STARTED", "FINISHED", "FILE"}, cells)
			})
		},
	}
}
