package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"cardea/internal/credential"
)

// Exit codes of the contract.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// app is what the commands share: where they read and write, and how they
// reach a server.
type app struct {
	in       io.Reader
	lines    *bufio.Reader // of in, once a command has read a line of it
	out, err io.Writer
	getenv   func(string) string

	json   bool   // --json
	data   string // --data: folder of a local server
	server string // --server: URL of any other
	org    string // --org: organisation to act in
	cacert string // --cacert: certificate that --server is checked against
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the whole program with its surroundings as arguments; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{in: stdin, out: stdout, err: stderr, getenv: os.Getenv}
	root := a.root()
	root.SetArgs(shieldNumber(joinBooleans(args)))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if isCobraUsage(err) {
		err = usageError{err}
	}
	a.printError(err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "cardea",
		Short:         "Keys and tokens in front of real services",
		Long:          "Cardea issues, rotates and revokes the keys and tokens of devices, services and scripts,\nand stands in front of the services that they call.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Example:       "  cardea serve\n  cardea key gen pump-1 --output ./pump-1",
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { untilSignal(cmd) }
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "answer in JSON")
	flags.StringVar(&a.data, "data", "", "data folder of the server (default ./cardea-data, or CARDEA_DATA)")
	flags.StringVar(&a.server, "server", "", "URL of another server, used with the token in CARDEA_TOKEN (default CARDEA_SERVER)")
	flags.StringVar(&a.org, "org", "", "organisation to act in, by the local administrator (default CARDEA_ORG, or default)")
	flags.StringVar(&a.cacert, "cacert", "", "certificate that --server must be signed by (default CARDEA_CACERT, or the system's)")
	root.AddCommand(
		a.serveCommand(), a.demoCommand(),
		a.orgCommand(), a.projectCommand(), a.keyCommand(), a.principalCommand(), a.userCommand(), a.credCommand(), a.appkeyCommand(), a.inventoryCommand(), a.scopeCommand(), a.roleCommand(), a.kindPolicyCommand(), a.routeCommand(),
		a.loginCommand(), a.logoutCommand(), a.meCommand(), a.tokenCommand(),
		a.formatCommand(), a.importCommand(), a.webhookCommand(),
		a.clientCommand(), a.apiCommand(), a.signingKeyCommand(), a.authenticatorCommand(), a.sessionCommand(), a.auditCommand(), a.verifyCommand(), a.explainCommand(), a.scanCommand(), a.variformCommand(),
		a.adminCommand(), a.keystoreCommand(), a.backupCommand(), a.restoreCommand(), a.doctorCommand(), a.versionCommand(),
	)
	return root
}

// untilSignal ends the context of a command with a signal, so that it can tidy
// up. A server has its own way to end.
func untilSignal(cmd *cobra.Command) {
	if cmd.Name() == "serve" || cmd.Name() == "demo" {
		return
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal has its usual effect
	cmd.SetContext(ctx)
}

// group is a command that only holds others. Without one of them, or with one
// that does not exist, it says which there are.
func group(use, short string, members ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(members...)
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name()
	}
	c.Example = members[0].Example
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s needs one of: %s (see %s --help)", cmd.CommandPath(), strings.Join(names, ", "), cmd.CommandPath())
		}
		return usagef("%s has no command %q; there are: %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
	}
	return c
}

// exactly asks for n arguments, whose names the message gives.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s needs %s; for example:\n%s", cmd.CommandPath(), strings.Join(names[len(args):], " and "), cmd.Example)
		case len(args) > len(names):
			return usagef("%s does not know what to do with %q", cmd.CommandPath(), args[len(names)])
		}
		return nil
	}
}

// isCobraUsage recognises the errors that cobra makes by itself before a command runs.
func isCobraUsage(err error) bool {
	s := err.Error()
	for _, begin := range []string{"unknown command", "required flag(s)", "if any flags in the group", "at least one of the flags in the group"} {
		if strings.HasPrefix(s, begin) {
			return true
		}
	}
	return false
}

// printError writes one line, and one more for each field that is wrong.
func (a *app) printError(err error) {
	text := strings.TrimSpace(err.Error())
	if _, ok := errors.AsType[usageError](err); !ok {
		text = printable(text)
	} // a usage error is our own text or cobra's, with examples on lines of their own; what was typed is quoted in it
	e, ok := errors.AsType[*credential.Error](err)
	if !ok || len(e.Fields) == 0 {
		fmt.Fprintf(a.err, "cardea: %s\n", text)
		return
	}
	head := firstOf(e.Message, "the request is not valid")
	fmt.Fprintf(a.err, "cardea: %s\n", strings.Replace(text, printable(e.Public()), printable(head), 1))
	for _, f := range e.Fields {
		fmt.Fprintf(a.err, "  %s %s\n", printable(f.Field), printable(f.Message))
	}
}

// joinBooleans makes `--flag true` one argument, as `--flag=true` is: the flag
// package cannot tell a value of a boolean flag from the next argument.
func joinBooleans(args []string) []string {
	joined := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(joined, args[i:]...)
		}
		if i+1 < len(args) && isBooleanFlag(args[i]) && isBoolean(args[i+1]) {
			joined = append(joined, args[i]+"="+args[i+1])
			i++
			continue
		}
		joined = append(joined, args[i])
	}
	return joined
}

func isBooleanFlag(arg string) bool {
	name, ok := strings.CutPrefix(arg, "--")
	return ok && slices.ContainsFunc(options(), func(o option) bool { return o.boolean && o.name == name })
}

func isBoolean(s string) bool { return s == "true" || s == "false" }
