package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"cardea/internal/ca"
)

// internalTLS is the configuration of a listener whose certificate is the internal CA's.
func (n *node) internalTLS(addr string) (*tls.Config, error) {
	names, addrs := serverNames(addr, n.config.ServerNames)
	l, err := ca.NewListener(n.ca, names, addrs, time.Now)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: l.GetCertificate,
		ClientCAs: n.ca.ClientPool(), ClientAuth: tls.VerifyClientCertIfGiven,
	}, nil
}

// httpsConfig is that of HTTPS: the files that were given, or the internal CA.
func (n *node) httpsConfig(addr string) (*tls.Config, error) {
	c, err := n.internalTLS(addr)
	if err != nil || n.config.TLSCert == "" {
		return c, err
	}
	files := &certFiles{cert: n.config.TLSCert, key: n.config.TLSKey}
	if _, err := files.get(nil); err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	c.GetCertificate = files.get
	return c, nil
}

// serverNames are what a certificate must carry so that clients who come by any
// usual name of the listener find it there: the address, and this machine's.
func serverNames(addr string, more []string) (names []string, addrs []netip.Addr) {
	add := func(s string) {
		if ip, err := netip.ParseAddr(s); err == nil {
			addrs = append(addrs, ip.Unmap().WithZone(""))
		} else if s != "" {
			names = append(names, s)
		}
	}
	add("localhost")
	add("127.0.0.1")
	add("::1")
	host, _, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		for _, s := range machineNames() {
			add(s)
		}
	} else {
		add(host)
	}
	for _, s := range more {
		add(s)
	}
	slices.Sort(names)
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(names), slices.Compact(addrs)
}

// machineNames are the host name and the addresses of the interfaces.
func machineNames() []string {
	var all []string
	if name, err := os.Hostname(); err == nil && isHostName(name) {
		all = append(all, name)
	}
	addrs, _ := net.InterfaceAddrs() // without them there are the other names
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			all = append(all, p.Addr().String())
		}
	}
	return all
}

// certFiles serves a certificate from files, and notices when they are renewed.
type certFiles struct {
	cert, key string

	mu     sync.Mutex
	have   *tls.Certificate
	stamp  time.Time // of the certificate's file
	looked time.Time
}

const lookAtFiles = 10 * time.Second

func (f *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have != nil && time.Since(f.looked) < lookAtFiles {
		return f.have, nil
	}
	f.looked = time.Now()
	info, err := os.Stat(f.cert)
	if err == nil && f.have != nil && info.ModTime().Equal(f.stamp) {
		return f.have, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(f.cert, f.key)
	}
	if err != nil {
		if f.have != nil { // half a renewal: the old one is better than none
			return f.have, nil
		}
		return nil, err
	}
	f.have, f.stamp = &pair, info.ModTime()
	return f.have, nil
}
