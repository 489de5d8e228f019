// Command cardea keeps the keys and tokens of devices, services and scripts,
// and stands in front of the services that they call.
//
//	cardea serve            runs a server
//	cardea demo             runs one with a sample upstream and shows what to try
//	cardea key gen pump-1   makes a device with a token and a certificate
//
// Everything else is a command that asks a running server: by the socket in its
// data folder, as the local administrator, or by --server and CARDEA_TOKEN.
// Exit codes: 0, 1 for a failure, 2 for a command line or a configuration that
// cannot be understood.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
