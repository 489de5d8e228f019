package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// setIssuer reads the URL by which others know this installation: what is in iss of access tokens is compared letter by letter.
func setIssuer(c *config, v string) error {
	u, err := url.Parse(v)
	switch {
	case v == "":
		c.Issuer = ""
		return nil
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("must be an absolute URL, as in https://cardea.example.com, not %q", redactURL(v))
	case u.User != nil || strings.ContainsAny(v, "?#"):
		return fmt.Errorf("must have no user, query or fragment: %q", redactURL(v))
	case strings.HasSuffix(v, "/"):
		return fmt.Errorf("must not end with a slash: %q", strings.TrimRight(v, "/"))
	case u.Scheme == "http" && !isLoopback(net.JoinHostPort(u.Hostname(), "443")):
		return fmt.Errorf("must be https, since tokens go there: http is for loopback addresses alone")
	case v != u.String() || u.Host != strings.ToLower(u.Host) || strings.Contains(u.Path, "//"):
		return fmt.Errorf("must be written plainly, in lower case and without escapes, as everybody will write it: %q", redactURL(v))
	}
	c.Issuer = v
	return nil
}

// setDPoPOrigin takes an origin: a URL without a path.
func setDPoPOrigin(c *config, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || v != u.Scheme+"://"+strings.ToLower(u.Host) {
		return fmt.Errorf("must be an origin, as in https://app.example.com, without a path and in lower case, not %q", redactURL(v))
	}
	c.Origins = append(c.Origins, v)
	return nil
}

// issuer is --issuer, or the URL of the HTTP listener; "" if there is neither, and then there are no access tokens.
func (n *node) issuer() string {
	switch {
	case n.config.Issuer != "":
		return n.config.Issuer
	case n.doors.httpL == nil:
		return ""
	}
	host, port, err := net.SplitHostPort(n.doors.httpL.Addr().String())
	if err != nil {
		return ""
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() { // that is no name for anything
		host = "localhost"
		if names := n.config.ServerNames; len(names) > 0 && !strings.HasPrefix(names[0], "*") {
			host = names[0]
		}
	}
	return n.scheme() + net.JoinHostPort(host, port)
}

// issuer says whether others can trust what access tokens name as their issuer.
func (f *findings) issuer(url, listen string) {
	const name = "issuer"
	switch plain := strings.HasPrefix(url, "http://"); {
	case url == "":
		f.ok(name, "there are no access tokens: HTTP is off, and there is no --issuer")
	case plain && !isLoopback(listen):
		f.warn(name, "%s is not https, though others reach the listener: tokens and secrets go there in the clear; name the URL that they use by --issuer", url)
	case strings.HasPrefix(url, "https://localhost:") && !isLoopback(listen):
		f.warn(name, "%s is good for this machine alone, though others reach the listener: name the URL that they use by --issuer, the same on every node", url)
	default:
		f.ok(name, "%s", url)
	}
}
