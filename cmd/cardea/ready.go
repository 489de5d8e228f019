package main

import (
	"encoding/json"
	"os"
)

// ready is the content of --ready-file: where each door accepts.
type ready struct {
	HTTP    string `json:"http,omitempty"`
	MQTT    string `json:"mqtt,omitempty"`
	MQTTS   string `json:"mqtts,omitempty"` // where MQTT over TLS is served
	GRPC    string `json:"grpc,omitempty"`
	Console string `json:"console,omitempty"`
	PID     int    `json:"pid"`
}

// write puts the file there, whole.
func (r ready) write(path string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replaceFile(path, 0o644, append(raw, '\n'))
}

// removeReady takes the file away if it is this process's.
func removeReady(path string) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var r ready
	if json.Unmarshal(raw, &r) == nil && r.PID == os.Getpid() {
		os.Remove(path)
	}
}
