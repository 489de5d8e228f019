package testkit

import (
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// ScramClient is a client of SCRAM that nobody here wrote. It may be used for one login after another, and keeps what
// it has derived from the password, so that later logins with the same salt cost it little.
type ScramClient struct {
	client  *scram.Client
	binding scram.ChannelBinding
	talk    *scram.ClientConversation
}

// NewScramClient returns a client for a method, "SCRAM-SHA-256" and "SCRAM-SHA-512-PLUS" among them. The exporter is
// the keying material of the TLS connection for methods with "-PLUS".
func NewScramClient(method, username, password string, exporter []byte) (*ScramClient, error) {
	name, plus := strings.CutSuffix(method, "-PLUS")
	hash, ok := map[string]scram.HashGeneratorFcn{"SCRAM-SHA-256": scram.SHA256, "SCRAM-SHA-512": scram.SHA512}[name]
	if !ok {
		return nil, fmt.Errorf("testkit: no SCRAM client for the method %q", method)
	}
	client, err := hash.NewClient(username, password, "")
	if err != nil {
		return nil, err
	}
	c := &ScramClient{client: client}
	if plus {
		c.binding = scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: exporter}
	}
	return c, nil
}

// First begins a login and returns its first message.
func (c *ScramClient) First() []byte {
	c.talk = c.client.NewConversationWithChannelBinding(c.binding)
	msg, err := c.talk.Step("")
	if err != nil {
		panic(err) // nothing that it was given can be wrong
	}
	return []byte(msg)
}

// Final answers the server's first message.
func (c *ScramClient) Final(serverFirst []byte) ([]byte, error) {
	msg, err := c.talk.Step(string(serverFirst))
	return []byte(msg), err
}

// Verify reports whether the server's last message proves that it knows the keys.
func (c *ScramClient) Verify(serverFinal []byte) bool {
	_, err := c.talk.Step(string(serverFinal))
	return err == nil && c.talk.Valid()
}
