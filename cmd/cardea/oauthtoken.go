package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

const pathToken = "/oauth2/token"

// tokenAnswer is what a token endpoint answers (RFC 6749 §5).
type tokenAnswer struct {
	AccessToken string `json:"access_token,omitempty"`
	TokenType   string `json:"token_type,omitempty"`
	ExpiresIn   int64  `json:"expires_in,omitempty"`
	Scope       string `json:"scope,omitempty"`

	Code        string `json:"error,omitempty"`
	Description string `json:"error_description,omitempty"`
}

func (a *app) clientToken() *cobra.Command {
	var file string
	var scopes, resources []string
	c := &cobra.Command{
		Use:     "token ID",
		Short:   "Get an access token with a client's secret, as the client does, to try what it may",
		Example: "  cardea client token 7Gq0bXv2LmNp --secret-file ./meters_secret --scope billing:read --resource https://billing.example.com",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := a.clientSecret(cmd.Context(), file)
			if err != nil {
				return err
			}
			form := url.Values{"grant_type": {"client_credentials"}, "resource": resources}
			if len(scopes) > 0 {
				form.Set("scope", strings.Join(scopes, " "))
			}
			t, err := a.fetchToken(cmd.Context(), args[0], secret.Reveal(), form)
			if err != nil {
				return err
			}
			return a.show(t, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, printable(t.AccessToken))
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&file, "secret-file", "", "`FILE` that holds the secret; - is standard input (default: it is asked for)")
	f.StringArrayVar(&scopes, "scope", nil, "`NAME` of a scope that the token shall have (repeatable; none: all that it may)")
	f.StringArrayVar(&resources, "resource", nil, "`URI` of the API that it shall be for (repeatable; none: the client's only one, or Cardea itself)")
	return c
}

// clientSecret reads a secret from a file, or asks for it.
func (a *app) clientSecret(ctx context.Context, file string) (view.Secret, error) {
	if file == "" {
		return a.askSecret(ctx, "client secret", "")
	}
	secret, err := a.secretFile("--secret-file", file)
	if err == nil && secret == "" {
		err = fmt.Errorf("--secret-file: %s is empty", file)
	}
	return secret, err
}

// fetchToken asks the token endpoint of the server. Nothing is kept.
func (a *app) fetchToken(ctx context.Context, id, secret string, form url.Values) (tokenAnswer, error) {
	var t tokenAnswer
	c, err := a.visitorClient(ctx)
	if err != nil {
		return t, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+pathToken, strings.NewReader(form.Encode()))
	if err != nil {
		return t, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	resp, err := c.http.Do(req)
	if err != nil {
		return t, c.lost(http.MethodGet, err) // asking twice does no harm
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return t, c.lost(http.MethodGet, err)
	case json.Unmarshal(raw, &t) != nil:
		return t, fmt.Errorf("%s did not answer as a token endpoint does: status %d", c.where, resp.StatusCode)
	case resp.StatusCode != http.StatusOK || t.AccessToken == "":
		return t, refusedToken(resp, &t)
	}
	return t, nil
}

// refusedToken says why there is no token, and what to do.
func refusedToken(resp *http.Response, t *tokenAnswer) error {
	text := firstOf(t.Code, resp.Status)
	if t.Description != "" {
		text += ": " + t.Description
	}
	if after := resp.Header.Get("Retry-After"); after != "" {
		text += "; try again in " + after + " s"
	}
	return errors.New(text)
}

// jwtText is a JWT for people: what it says of itself, which nobody has checked.
type jwtText struct {
	Header  json.RawMessage `json:"header"`
	Claims  json.RawMessage `json:"claims"`
	Verdict *view.Verdict   `json:"verdict,omitempty"`
}

func (a *app) clientDecode() *cobra.Command {
	var file, ip string
	c := &cobra.Command{
		Use:     "decode",
		Short:   "Print what a JWT says, and whether this server accepts it now; exit 1 if not",
		Example: "  cardea client token 7Gq0bXv2LmNp --secret-file ./meters_secret | cardea client decode",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := a.readJWT(file)
			if err != nil {
				return err
			}
			t, err := splitJWT(token.Reveal())
			if err != nil {
				return err
			}
			c, err := a.client()
			if err == nil {
				t.Verdict = &view.Verdict{}
				err = c.post(cmd.Context(), pathVerify, view.Verify{Token: token, IP: ip}, t.Verdict)
			}
			if err != nil { // what it says is shown all the same
				t.Verdict = nil
			}
			if err := a.show(t, func(w io.Writer) error { return writeJWT(w, &t) }); err != nil {
				return err
			}
			if err != nil {
				return err
			}
			return refusal(*t.Verdict)
		},
	}
	c.Flags().StringVar(&file, "token-file", "-", "`FILE` that holds the token; - is standard input")
	c.Flags().StringVar(&ip, "ip", "", "`ADDRESS` it comes from")
	return c
}

func (a *app) readJWT(file string) (view.Secret, error) {
	raw, err := a.readFile(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", fmt.Errorf("--token-file: there is no token in %s", map[bool]string{true: "standard input", false: file}[file == "-"])
	}
	return view.Secret(text), nil
}

// splitJWT reads header and claims without any check of who has made them.
func splitJWT(token string) (t jwtText, err error) {
	parts := strings.Split(token, ".")
	switch {
	case strings.HasPrefix(token, "cardea_"):
		return t, errors.New("this is no JWT but a token of Cardea's, which says nothing by itself: see cardea verify")
	case len(parts) == 5:
		return t, errors.New("this is an encrypted JWT: only whom it is for can read it")
	case len(parts) != 3:
		return t, errors.New("this is no JWT: it would have three parts with dots between them")
	}
	if t.Header, err = jwtPart("header", parts[0]); err != nil {
		return t, err
	}
	t.Claims, err = jwtPart("claims", parts[1])
	return t, err
}

func jwtPart(what, text string) (json.RawMessage, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	var object map[string]any
	if err != nil || json.Unmarshal(raw, &object) != nil {
		return nil, fmt.Errorf("this is no JWT: its %s is no JSON object in base64url", what)
	}
	return raw, nil
}

// writeJWT shows what somebody else has written, so that it cannot steer a terminal (A09): what does not print is escaped as JSON has it.
func writeJWT(w io.Writer, t *jwtText) error {
	for _, part := range []json.RawMessage{t.Header, t.Claims} {
		var text bytes.Buffer
		if err := printJSON(&text, part); err != nil {
			return err
		}
		var safe []byte
		for _, r := range text.String() {
			switch {
			case r == '\n' || unicode.IsPrint(r) && r != utf8.RuneError:
				safe = utf8.AppendRune(safe, r)
			case r > 0xffff:
				high, low := utf16.EncodeRune(r)
				safe = fmt.Appendf(safe, `\u%04x\u%04x`, high, low)
			default:
				safe = fmt.Appendf(safe, `\u%04x`, r)
			}
		}
		if _, err := w.Write(safe); err != nil {
			return err
		}
	}
	if t.Verdict == nil {
		return nil
	}
	fmt.Fprintln(w)
	return writeVerdict(w, *t.Verdict)
}

func (a *app) clientRevokeToken() *cobra.Command {
	var request view.RevokeToken
	var file, expires string
	c := &cobra.Command{
		Use:   "revoke-token",
		Short: "Refuse an access token from now on, and those that were exchanged from it",
		Example: "  cardea client revoke-token --token-file ./leaked.jwt --reason 'it was in a log'\n" +
			"  cardea client revoke-token --jti 4fQx7TzR0kLa --credential 7Gq0bXv2LmNp",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if file != "" {
				if request.Token, err = a.readJWT(file); err != nil {
					return err
				}
			}
			if request.ExpiresAt, err = parseTime("--expires-at", expires); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var v view.RevokedToken
			if err := c.post(cmd.Context(), pathTokenRevoke, request, &v); err != nil {
				return err
			}
			return a.show(v, func(w io.Writer) error {
				return details(w, "JTI", v.JTI, "CREDENTIAL", v.Credential, "REFUSED UNTIL", when(v.ExpiresAt))
			})
		},
	}
	f := c.Flags()
	f.StringVar(&file, "token-file", "", "`FILE` that holds the token; - is standard input")
	f.StringVar(&request.JTI, "jti", "", "its jti, where the token is not at hand")
	f.StringVar(&request.Credential, "credential", "", "with --jti: `ID` of the credential that it was made for")
	f.StringVar(&expires, "expires-at", "", "with --jti: its end, a `TIME` (default: the longest that a token lives, 1d from now)")
	f.StringVar(&request.Reason, "reason", "", "why; `TEXT` for the audit log")
	c.MarkFlagsOneRequired("token-file", "jti")
	c.MarkFlagsMutuallyExclusive("token-file", "jti")
	c.MarkFlagsRequiredTogether("jti", "credential")
	return c
}
