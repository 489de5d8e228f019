package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func (a *app) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Long: "Run a server. Each option is also an environment variable, --http-listen is CARDEA_HTTP_LISTEN,\n" +
			"and a key of the TOML file that --config names, http-listen = \"…\"; a flag counts more than\n" +
			"a variable, and that more than the file. In the file, routes and further MQTT listeners\n" +
			"are tables (docs/configuration.md has all keys):\n\n" +
			"  [[route]]\n  prefix = \"/db/\"\n  upstream = \"http://127.0.0.1:8086\"\n\n" +
			"  [[mqtt_listener]]\n  name = \"plant\"\n  listen = \"0.0.0.0:8883\"\n  tls = true\n  client_certificates = \"required\"",
		Example: "  cardea serve --data ./cardea-data --http-upstream /db/=http://127.0.0.1:8086",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.loadConfig(cmd.Flags())
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), c, hooks{})
		},
	}
	addOptions(c.Flags())
	return c
}

// hooks are what a demo does beside serving. Either may be nil.
type hooks struct {
	ready     func(context.Context, *node) error // all doors accept, and nobody was told yet
	announced func(*node)
}

// serve runs a server until a signal or ctx ends it. The first signal drains, a second one ends the process at once.
func (a *app) serve(ctx context.Context, c *config, h hooks) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	n, err := openNode(ctx, c, newLog(a.err, c.LogFormat, c.LogLevel))
	if err != nil {
		return err
	}
	defer n.close()
	if err := n.start(ctx); err != nil {
		return err
	}
	if h.ready != nil {
		if err := h.ready(ctx, n); err != nil {
			return err
		}
	}
	if err := n.announce(a.out); err != nil {
		return err
	}
	if h.announced != nil {
		h.announced(n)
	}
	select {
	case <-ctx.Done():
		n.log.Info("stopping", "drain_timeout", c.DrainTimeout.String())
	case err = <-n.failed:
		n.log.Error("a door has failed; stopping", "error", err)
	}
	stop() // from now on a signal has its usual effect
	n.drain()
	return err
}

// announce writes where the doors are: the ready file for programs, lines for people.
func (n *node) announce(w io.Writer) error {
	r := n.addresses()
	if n.config.ReadyFile != "" {
		if err := r.write(n.config.ReadyFile); err != nil {
			return fmt.Errorf("--ready-file: %w", err)
		}
	}
	n.log.Info("ready", "http", r.HTTP, "mqtt", r.MQTT, "mqtts", r.MQTTS, "grpc", r.GRPC, "console", r.Console, "issuer", n.issuer(), "data", n.config.Data, "version", version())
	if r.HTTP != "" {
		fmt.Fprintf(w, "HTTP         %s\n", n.httpURL())
	}
	if r.MQTT != "" {
		fmt.Fprintf(w, "MQTT         %s\n", r.MQTT)
	}
	if r.MQTTS != "" && r.MQTTS != r.MQTT {
		fmt.Fprintf(w, "MQTT         %s (TLS, client certificates)\n", r.MQTTS)
	}
	if r.GRPC != "" {
		fmt.Fprintf(w, "gRPC         %s (TLS)\n", r.GRPC)
	}
	if r.Console != "" {
		fmt.Fprintf(w, "console      %s (cardea admin link)\n", n.consoleURL())
	}
	if _, err := os.Stat(adminTokenPath(n.config.Data)); err == nil {
		fmt.Fprintf(w, "admin token  %s\n", adminTokenPath(n.config.Data))
	}
	return nil
}
