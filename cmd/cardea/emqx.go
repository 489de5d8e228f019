package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"cardea/internal/credential"
	"cardea/internal/jobs"
)

// emqxConfig is how to reach the management API of an EMQX cluster that asks Cardea.
type emqxConfig struct {
	API        string // URL without /api/v5; "" for none
	Key        string
	SecretFile string
}

func emqxOptions() []option {
	return []option{
		{name: "emqx-api", value: "URL", usage: "management API of an EMQX cluster that asks Cardea, https://host:18083, to be told what ends", set: setEMQXAPI},
		{name: "emqx-api-key", value: "NAME", usage: "key of that API, made in EMQX's dashboard", set: text(func(c *config) *string { return &c.EMQX.Key })},
		{name: "emqx-api-secret-file", value: "FILE", usage: "file with the secret that belongs to the key: the first line", set: text(func(c *config) *string { return &c.EMQX.SecretFile })},
	}
}

func setEMQXAPI(c *config, v string) error {
	u, err := url.Parse(v)
	if v != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		return fmt.Errorf("must be like https://host:18083, without user, query and fragment, not %q", redactURL(v))
	}
	c.EMQX.API = v
	return nil
}

// checkEMQX adds what is wrong with these options together.
func (c *config) checkEMQX(problems *credential.Problems) {
	e := &c.EMQX
	switch {
	case e.API == "" && (e.Key != "" || e.SecretFile != ""):
		problems.Add("--emqx-api", "is missing, and options for it are given")
	case e.API != "" && (e.Key == "" || e.SecretFile == ""):
		problems.Add("--emqx-api", "needs --emqx-api-key and --emqx-api-secret-file")
	}
	if e.SecretFile != "" {
		if _, err := readPassword(e.SecretFile); err != nil {
			problems.Add("--emqx-api-secret-file", "%s", err.Error())
		}
	}
}

// makeEMQX makes the job that tells the cluster, if there is one.
func (n *node) makeEMQX() error {
	c := &n.config.EMQX
	if c.API == "" {
		return nil
	}
	secret, err := readPassword(c.SecretFile)
	if err != nil {
		return fmt.Errorf("--emqx-api-secret-file: %w", err)
	}
	n.emqx, err = jobs.NewEMQX(jobs.EMQXConfig{Store: n.store, URL: c.API, Key: c.Key, Secret: secret, Client: emqxClient(), Log: n.log})
	if err != nil {
		return fmt.Errorf("--emqx-api: %w", err)
	}
	return nil
}

// emqxTime is for one call to the API, its answer included.
const emqxTime = 30 * time.Second

// emqxClient follows no redirects, which could lead the secret elsewhere, and goes through no proxy of the environment.
func emqxClient() *http.Client {
	transport, _ := http.DefaultTransport.(*http.Transport)
	own := transport.Clone()
	own.Proxy = nil
	return &http.Client{
		Timeout: emqxTime, Transport: own,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// startEMQX runs the job until ctx ends.
func (n *node) startEMQX(ctx context.Context) {
	if n.emqx == nil {
		return
	}
	if u, err := url.Parse(n.config.EMQX.API); err == nil && u.Scheme == "http" && !isLoopback(net.JoinHostPort(u.Hostname(), "0")) {
		n.log.Warn("EMQX's API is asked without TLS on an address that is not loopback: its secret crosses the network in the clear")
	}
	n.behind.Go(func() { n.emqx.Run(ctx) })
}
