package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cardea/internal/credential"
	"cardea/internal/view"
)

const (
	machbaseFormat = "machbase-neo" // of the tokens that are taken over
	machbaseCert   = "_cert.pem"
	machbaseToken  = "_token"
	maxMachbase    = 64 << 10 // bytes of a file
)

func (a *app) importMachbase() *cobra.Command {
	var f importFlags
	var tokens string
	c := &cobra.Command{
		Use:   "machbase DIR",
		Short: "Take over the devices of a machbase-neo, from its folder authorized_keys",
		Long: "Take over the devices of a machbase-neo, from its folder authorized_keys. It holds the devices' certificates, and nothing of their tokens:\n" +
			"a token is a signature that only its holder has, in the file ID_token that was made with the key. Devices whose token is in DIR or in the\n" +
			"folder of --tokens are made here, and go on using it until their certificate ends. Certificates are of machbase-neo's own CA, which is not\n" +
			"trusted here: none is taken over, and a device that connects with one needs a new key.",
		Example: "  cardea import machbase ./authorized_keys --tokens ./keys --results machbase.ndjson",
		Args:    exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			file := machbaseFolder(args[0], firstOf(tokens, args[0]))
			_, closer, err := file.open() // before anything is made for it
			if err != nil {
				return err
			}
			_ = closer.Close()
			if !f.dry {
				format := view.PutFormat{Scheme: "sha256", Bits: 128}
				if err := c.call(cmd.Context(), http.MethodPut, at(pathFormat, machbaseFormat), format, nil); err != nil {
					return err
				}
			}
			f.options.CreatePrincipals, f.options.PrincipalKind = true, string(credential.Device)
			if len(f.options.Roles) == 0 {
				f.options.Roles = []string{credential.RoleDevice}
			}
			f.note = noteMachbase
			return a.runImport(cmd.Context(), file, f)
		},
	}
	f.addCommon(c)
	c.Flags().StringArrayVar(&f.options.Roles, "role", nil, "`NAME` of a role that the devices get (repeatable; default: device)")
	c.Flags().StringVar(&tokens, "tokens", "", "`FOLDER` with the files ID_token (default: DIR)")
	return c
}

// noteMachbase says of a device what was not taken over.
func noteMachbase(r *view.ImportResult) {
	if r.Status == "failed" {
		return
	}
	const text = "the token was taken over; its certificate was not, since it is of another CA: make one with 'cardea cred create --kind certificate'"
	if r.Note != "" {
		r.Note += "; "
	}
	r.Note += text
}

// machbaseFolder reads a folder authorized_keys: a row for each certificate.
func machbaseFolder(dir, tokens string) rowFile {
	return rowFile{name: filepath.Base(dir), open: func() (rowSource, io.Closer, error) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, nil, err
		}
		rows := &machbaseRows{dir: dir, tokens: tokens}
		for _, e := range entries {
			if id, ok := strings.CutSuffix(e.Name(), machbaseCert); ok {
				rows.ids = append(rows.ids, id)
			}
		}
		if len(rows.ids) == 0 {
			return nil, nil, fmt.Errorf("%s holds no file ID%s: it is no folder authorized_keys of a machbase-neo", dir, machbaseCert)
		}
		return rows, rows, nil
	}}
}

type machbaseRows struct {
	dir, tokens string
	ids         []string
}

func (m *machbaseRows) Close() error { return nil }

func (m *machbaseRows) next() (view.ImportRow, error) {
	if len(m.ids) == 0 {
		return view.ImportRow{}, io.EOF
	}
	id := m.ids[0]
	m.ids = m.ids[1:]
	row, why := m.row(id)
	if why != "" {
		if credential.CheckName(id) != "" {
			id = "a device"
		}
		row = view.ImportRow{ExternalID: row.ExternalID, Invalid: id + ": " + why}
	}
	return row, nil
}

// row reads what there is of a device; the second result says why it cannot be taken over.
func (m *machbaseRows) row(id string) (view.ImportRow, string) {
	if why := credential.CheckName(id); why != "" {
		return view.ImportRow{}, "its ID " + why + ": make a key with another one"
	}
	row := view.ImportRow{ExternalID: id}
	cert, why := readMachbaseCert(filepath.Join(m.dir, id+machbaseCert))
	if why != "" {
		return row, why
	}
	if cert.Subject.CommonName != id {
		return row, "the certificate is of another device"
	}
	token, err := readSmall(filepath.Join(m.tokens, id+machbaseToken))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return row, "there is no file " + id + machbaseToken + ", and machbase-neo itself keeps no token: make a new key with 'cardea key gen " + id + "'"
	case err != nil:
		return row, "the file with its token cannot be read"
	}
	text := strings.TrimSpace(string(token))
	if !isMachbaseToken(text, id, cert.PublicKey) {
		return row, "the token is not signed by the key of its certificate, so it would not be accepted there either: make a new key with 'cardea key gen " + id + "'"
	}
	row.Kind, row.Principal, row.Name, row.Format, row.Token = string(credential.DeviceToken), id, id, machbaseFormat, view.Secret(text)
	row.ExpiresAt, row.CreatedAt = cert.NotAfter.UTC().Format(time.RFC3339), cert.NotBefore.UTC().Format(time.RFC3339)
	return row, ""
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMachbase+1))
	if err == nil && len(b) > maxMachbase {
		err = errors.New("is too long")
	}
	return b, err
}

func readMachbaseCert(path string) (*x509.Certificate, string) {
	raw, err := readSmall(path)
	if err != nil {
		return nil, "the file with its certificate cannot be read"
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, "the file holds no certificate in PEM"
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, "the certificate cannot be read"
	}
	return cert, ""
}

// isMachbaseToken reports whether a token is ID:b:SIGNATURE, with the signature of SHA-256(ID) in hex by the key of a
// certificate, as machbase-neo demands it. Very old versions made it of the public key, so that anybody could: that is none.
func isMachbaseToken(token, id string, pub crypto.PublicKey) bool {
	text, ok := strings.CutPrefix(token, id+":b:")
	sig, err := hex.DecodeString(text)
	if !ok || err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(id))
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(pub, sum[:], sig)
	case *rsa.PublicKey:
		return rsa.VerifyPSS(pub, crypto.SHA256, sum[:], sig, nil) == nil
	}
	return false
}
