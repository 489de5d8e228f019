package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) authTest() *cobra.Command {
	var q view.Trial
	var password, token, cert string
	var attrs []string
	c := &cobra.Command{
		Use:     "test ID",
		Short:   "Ask an authenticator what it would do with a login; nobody is let in; exit 1 unless it accepts",
		Example: "  cardea authenticator test 7Gq0bXv2LmNp --username pump-1 --clientid pump-1 --password-file ./password",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if q.Password, err = a.secretFile("--password-file", password); err != nil {
				return err
			}
			if q.Token, err = a.secretFile("--token-file", token); err != nil {
				return err
			}
			pem, err := a.secretFile("--cert", cert)
			if err != nil {
				return err
			}
			q.CertPEM = pem.Reveal()
			if q.ClientAttrs, err = pairs("--attr", attrs); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var v view.TrialResult
			if err := c.post(cmd.Context(), at(pathAuthTest, args[0]), q, &v); err != nil {
				return err
			}
			if err := a.show(v, func(w io.Writer) error { return writeTrial(w, &v) }); err != nil {
				return err
			}
			if v.Result != "accept" {
				return fmt.Errorf("not accepted: %s", v.Result)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&q.Username, "username", "", "user name, that of SCRAM too")
	f.StringVar(&q.ClientID, "clientid", "", "MQTT client `ID`")
	f.StringVar(&password, "password-file", "", "`FILE` that holds the password; - is standard input")
	f.StringVar(&token, "token-file", "", "`FILE` that holds a token; - is standard input")
	f.StringVar(&cert, "cert", "", "`FILE` with the client's certificate, PEM")
	f.StringVar(&q.Method, "method", "", "of enhanced authentication, as in SCRAM-SHA-256")
	f.StringVar(&q.PeerHost, "peerhost", "", "`ADDRESS` it comes from (default 127.0.0.1)")
	f.StringVar(&q.Listener, "listener", "", "kind and name of where it comes to, as in ssl:default (default: the chain's, without TLS)")
	f.StringArrayVar(&attrs, "attr", nil, "`NAME=VALUE` of client_attrs (repeatable)")
	return c
}

// secretFile reads a secret that must not stand on the command line, where others can read it (C03); "" for no path.
func (a *app) secretFile(flag, path string) (view.Secret, error) {
	if path == "" {
		return "", nil
	}
	raw, err := a.readFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return view.Secret(strings.TrimRight(string(raw), "\r\n")), nil
}

func writeTrial(w io.Writer, v *view.TrialResult) error {
	var attrs []string
	for _, name := range slices.Sorted(maps.Keys(v.ClientAttrs)) {
		attrs = append(attrs, name+"="+v.ClientAttrs[name])
	}
	rules, superuser := "", ""
	if v.ACLRules != nil {
		rules = strconv.Itoa(*v.ACLRules)
	}
	if v.IsSuperuser {
		superuser = "true"
	}
	return details(w, "RESULT", v.Result, "WHY", v.Why, "PRECONDITION", v.Precondition, "PRINCIPAL", v.Principal, "CREDENTIAL", v.Credential,
		"SUPERUSER", superuser, "ATTRIBUTES", strings.Join(attrs, " "), "EXPIRE", when(v.ExpireAt), "ACL RULES", rules, "TOOK", milliseconds(v.TookMS))
}

func milliseconds(ms float64) string { return strconv.FormatFloat(ms, 'f', -1, 64) + "ms" }

func (a *app) authMetrics() *cobra.Command {
	return &cobra.Command{
		Use:     "metrics ID",
		Short:   "Show what an authenticator has done on the server that answers",
		Example: "  cardea authenticator metrics 7Gq0bXv2LmNp",
		Args:    exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var m view.AuthenticatorMetrics
			if err := c.get(cmd.Context(), at(pathAuthMetrics, args[0]), &m); err != nil {
				return err
			}
			return a.show(m, func(w io.Writer) error { return writeFigures(w, &m) })
		},
	}
}

func writeFigures(w io.Writer, m *view.AuthenticatorMetrics) error {
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	err := details(w, "TOTAL", count(m.Total), "SUCCESS", count(m.Success), "FAILED", count(m.Failed), "IGNORED", count(m.Ignored),
		"SUPERUSER IGNORED", count(m.SuperuserIgnored), "LATENCY", latency(&m.Latency))
	if err != nil || m.Source == nil {
		return err
	}
	fmt.Fprintln(w)
	s := m.Source
	return details(w, "QUESTIONS", count(s.Questions), "FAILURES", count(s.Failures), "CIRCUIT", s.Circuit, "LATENCY", latency(&s.Latency),
		"LAST ERROR", s.LastError, "AT", when(s.LastAt))
}

func latency(l *view.Latency) string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s", milliseconds(l.P50), milliseconds(l.P99), milliseconds(l.Max))
}
