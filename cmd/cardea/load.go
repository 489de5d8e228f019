package main

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"cardea/internal/authority"
	"cardea/internal/credential"
)

// addOptions declares the flags of the table.
func addOptions(flags *pflag.FlagSet) {
	flags.String("config", "", "TOML file with any of these options (default CARDEA_CONFIG)")
	for _, o := range options() {
		v := &optionFlag{kind: cmp.Or(o.value, "BOOL"), list: o.list}
		if o.def != "" {
			v.values = []string{o.def}
		}
		flags.Var(v, o.name, o.usage)
		if o.boolean {
			flags.Lookup(o.name).NoOptDefVal = "true"
		}
	}
}

// presetOption gives a command's option another default.
func presetOption(flags *pflag.FlagSet, name, def string) {
	f := flags.Lookup(name)
	f.Value.(*optionFlag).values, f.DefValue = []string{def}, def
}

// optionFlag keeps what was said, as it was said.
type optionFlag struct {
	kind   string // for the help: ADDR
	list   bool
	values []string
}

// String is for the help.
func (f *optionFlag) String() string { return strings.Join(f.values, ",") }

// Type is what the help calls the value.
func (f *optionFlag) Type() string {
	if f.list {
		return f.kind + "..."
	}
	return f.kind
}

// Set takes one value; what is wrong with it is said with all else that is wrong.
func (f *optionFlag) Set(s string) error {
	if f.list {
		f.values = append(f.values, s)
	} else {
		f.values = []string{s}
	}
	return nil
}

// loadConfig puts together what flags, environment and file say, in this order
// of precedence, and reports everything that is wrong at once.
func (a *app) loadConfig(flags *pflag.FlagSet) (*config, error) {
	c := &config{Data: a.dataFolder()}
	var problems credential.Problems
	file := a.readConfigFile(flags, &problems)
	if v, ok := file["data"]; ok && a.data == "" && a.getenv("CARDEA_DATA") == "" {
		c.Data = v.values[0]
	}
	for _, o := range options() {
		where, values, source := a.valuesOf(o, flags, file)
		before := len(c.Routes)
		for _, v := range values {
			if err := o.set(c, v); err != nil {
				problems.Add(where, "%s", err.Error())
			}
		}
		for i := range c.Routes[before:] {
			c.Routes[before+i].Source = source
		}
	}
	c.Routes = append(c.Routes, fileRoutes(file)...)
	c.MQTT.Listeners = file["mqtt_listener"].listeners
	c.check(&problems)
	if err := problems.Err(); err != nil {
		return nil, usageError{&credential.Error{Kind: credential.Invalid, Message: "the configuration is not valid", Fields: problems}}
	}
	return c, nil
}

// dataFolder returns --data, CARDEA_DATA or the default.
func (a *app) dataFolder() string {
	if a.data != "" {
		return a.data
	}
	if v := a.getenv("CARDEA_DATA"); v != "" {
		return v
	}
	return "./cardea-data"
}

// valuesOf finds what an option was told, how the source calls it, and which source it is.
func (a *app) valuesOf(o option, flags *pflag.FlagSet, file map[string]fileValue) (where string, values []string, source string) {
	if f := flags.Lookup(o.name); f.Changed {
		return "--" + o.name, f.Value.(*optionFlag).values, "flag"
	}
	if v := a.getenv(o.env()); v != "" {
		if o.list {
			return o.env(), slices.DeleteFunc(strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }), func(s string) bool { return s == "" }), "flag"
		}
		return o.env(), []string{v}, "flag"
	}
	if v, ok := file[o.name]; ok {
		return v.where, v.values, "file"
	}
	return "--" + o.name, flags.Lookup(o.name).Value.(*optionFlag).values, "flag"
}

// fileValue is what a file says of one option.
type fileValue struct {
	where  string
	values []string
	routes []credential.Route // of [[route]] tables

	listeners []mqttListener // of [[mqtt_listener]] tables
}

// readConfigFile reads the file that --config or CARDEA_CONFIG names, strictly.
func (a *app) readConfigFile(flags *pflag.FlagSet, problems *credential.Problems) map[string]fileValue {
	path, _ := flags.GetString("config")
	if path == "" {
		path = a.getenv("CARDEA_CONFIG")
	}
	if path == "" {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		problems.Add("--config", "cannot be read: %s", err.Error())
		return nil
	}
	var tree map[string]toml.Primitive
	meta, err := toml.Decode(string(raw), &tree)
	if err != nil {
		problems.Add("--config", "%s: %s", path, strings.ReplaceAll(err.Error(), "\n", " "))
		return nil
	}
	file := map[string]fileValue{}
	known := append(options(), option{name: "data"})
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if key != "route" && key != "mqtt_listener" && !slices.ContainsFunc(known, func(o option) bool { return slices.Contains(o.spellings(), key) }) {
			problems.Add(path, "does not know the key %q", key)
		}
	}
	for _, o := range known {
		readKey(meta, tree, path, o, file, problems)
	}
	readRoutes(meta, tree, path, file, problems)
	readMQTTListeners(meta, tree, path, file, problems)
	for _, key := range meta.Undecoded() {
		if len(key) > 1 { // the others are known by now
			problems.Add(path, "does not know the key %q", key.String())
		}
	}
	return file
}

// spellings are the names that an option may have in a file.
func (o option) spellings() []string {
	return slices.Compact([]string{o.name, strings.ReplaceAll(o.name, "-", "_")})
}

// readKey reads one option, in either spelling.
func readKey(meta toml.MetaData, tree map[string]toml.Primitive, path string, o option, file map[string]fileValue, problems *credential.Problems) {
	for _, spelling := range o.spellings() {
		primitive, ok := tree[spelling]
		if !ok {
			continue
		}
		where := path + ": " + spelling
		if _, twice := file[o.name]; twice {
			problems.Add(where, "is there twice, in two spellings")
		}
		var v any
		if err := meta.PrimitiveDecode(primitive, &v); err != nil {
			problems.Add(where, "%s", err.Error())
			continue
		}
		values, err := scalars(v, o)
		if err != nil {
			problems.Add(where, "%s", err.Error())
			continue
		}
		file[o.name] = fileValue{where: where, values: values}
	}
}

// scalars turns a TOML value into the texts that a flag would have had.
func scalars(v any, o option) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case bool, int64:
		return []string{fmt.Sprint(v)}, nil
	case []any:
		if !o.list {
			break
		}
		var all []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("must be an array of strings")
			}
			all = append(all, s)
		}
		return all, nil
	}
	if o.list {
		return nil, fmt.Errorf("must be a string or an array of strings")
	}
	return nil, fmt.Errorf("must be one value")
}

// readRoutes reads the [[route]] tables, which the file has beside http-upstream.
func readRoutes(meta toml.MetaData, tree map[string]toml.Primitive, path string, file map[string]fileValue, problems *credential.Problems) {
	primitive, ok := tree["route"]
	if !ok {
		return
	}
	var tables []struct {
		Prefix   string `toml:"prefix"`
		Upstream string `toml:"upstream"`
	}
	if err := meta.PrimitiveDecode(primitive, &tables); err != nil {
		problems.Add(path+": route", "must be [[route]] tables with prefix and upstream")
		return
	}
	v := fileValue{where: path + ": route"}
	for i, t := range tables {
		if t.Prefix == "" || t.Upstream == "" {
			problems.Add(fmt.Sprintf("%s: route[%d]", path, i), "needs prefix and upstream")
			continue
		}
		v.routes = append(v.routes, credential.Route{Prefix: t.Prefix, Upstream: t.Upstream, Source: "file"})
	}
	file["route"] = v
}

func fileRoutes(file map[string]fileValue) []credential.Route { return file["route"].routes }

// check adds what is wrong with the whole.
func (c *config) check(problems *credential.Problems) {
	for i, r := range c.Routes {
		if err := authority.CheckRoute(r, c.Routes[:i]); err != nil {
			problems.Add("route "+printable(r.Prefix), "%s", publicText(err))
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		problems.Add("--tls-cert", "and --tls-key must be given together")
	}
	if c.TLSCert != "" && !c.HTTPTLS {
		problems.Add("--tls-cert", "has no effect without --http-tls")
	}
	if c.HTTPListen != "" && !c.HTTPTLS && !c.InsecureHTTP && !isLoopback(c.HTTPListen) { // H22
		problems.Add("--http-listen", "%s is not a loopback address, and tokens would cross the network in the clear: use --http-tls, put a proxy in front, or say --insecure-http", c.HTTPListen)
	}
	if c.ConsoleListen != "" && !c.HTTPTLS && !isLoopback(c.ConsoleListen) {
		problems.Add("--console-listen", "%s is not a loopback address: use --http-tls, or a loopback address behind a proxy", c.ConsoleListen)
	}
	if c.KeystorePasswordEnv != "" && c.KeystorePasswordCommand != "" {
		problems.Add("--keystore-password-env", "and --keystore-password-command exclude each other")
	}
	c.checkMQTT(problems)
	c.checkEMQX(problems)
	c.checkSMTP(problems)
	c.checkPorts(problems)
}

// checkPorts finds two listeners on one address.
func (c *config) checkPorts(problems *credential.Problems) {
	seen := map[string]string{}
	type named struct{ flag, addr string }
	all := []named{
		{"--http-listen", c.HTTPListen},
		{"--grpc-listen", c.GRPCListen},
		{"--console-listen", c.ConsoleListen},
		{"--mqtt-listen", c.MQTTListen},
		{"--mqtt-tls-listen", c.MQTTTLSListen},
	}
	for _, l := range c.MQTT.Listeners {
		all = append(all, named{"mqtt_listener " + printable(l.Name), l.Listen})
	}
	for _, l := range all {
		if _, port, _ := net.SplitHostPort(l.addr); l.addr == "" || port == "0" {
			continue
		}
		if other, taken := seen[l.addr]; taken {
			problems.Add(l.flag, "is the same address as %s, %s", other, l.addr)
		}
		seen[l.addr] = l.flag
	}
}

// isLoopback reports whether only this machine can reach an address. A name
// other than localhost is not resolved: it may mean something else tomorrow.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func publicText(err error) string {
	if e, ok := err.(*credential.Error); ok {
		return e.Public()
	}
	return err.Error()
}
