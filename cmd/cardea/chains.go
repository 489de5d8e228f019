package main

import (
	"context"
	"fmt"

	"cardea/internal/credential"
)

// startChains gives each MQTT listener its first chain, and does to the token authenticator of the default one what the start says.
func (n *node) startChains(ctx context.Context) error {
	for _, b := range n.doors.mqttL {
		if b.name == "default" { // every database has its chain
			continue
		}
		if err := n.authority.SeedChain(ctx, b.name, b.conf.proofs()); err != nil {
			return fmt.Errorf("the chain of the MQTT listener %s: %w", b.name, err)
		}
	}
	if err := n.authority.StartToken(ctx, "default", n.config.MQTTTokenAuth); err != nil {
		return fmt.Errorf("--mqtt-enable-token-auth: %w", err)
	}
	return nil
}

// proofs are the types of authenticators that a listener begins with.
func (l *mqttListener) proofs() []credential.AuthenticatorType {
	var types []credential.AuthenticatorType
	if l.Tokens {
		types = append(types, credential.ByToken)
	}
	if l.Certificates != "" {
		types = append(types, credential.ByCertificate)
	}
	if l.Scram {
		types = append(types, credential.ByScram)
	}
	return types
}

// mqttNames are the names of this node's MQTT listeners.
func (d *doors) mqttNames() []string {
	names := make([]string, len(d.mqttL))
	for i, b := range d.mqttL {
		names[i] = b.name
	}
	return names
}
