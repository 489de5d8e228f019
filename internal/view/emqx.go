package view

// EMQXLogin is what an EMQX cluster asks when somebody connects. Everything may be a text: EMQX renders it so.
type EMQXLogin struct {
	Username string `json:"username,omitempty" example:"pump-1" doc:"${username}"`
	Password Secret `json:"password,omitempty" example:"cardea_dev_…" doc:"${password}: the token. It may also be the user name, with an empty password"`
	ClientID string `json:"clientid,omitempty" example:"pump-1" doc:"${clientid}"`
	PeerHost string `json:"peerhost,omitempty" example:"10.1.2.3" doc:"${peerhost}; left out, credentials with networks are refused"`
}

// EMQXVerdict is the answer to [EMQXLogin] and [EMQXAccess].
type EMQXVerdict struct {
	Result    string `json:"result" enum:"allow,deny,ignore" doc:"ignore: no token was shown, ask the next authenticator"`
	Superuser *bool  `json:"is_superuser,omitempty" doc:"Never true"`
	EMQXIdentity
	Why string `json:"why,omitempty" doc:"What is wrong with the question, if that is why"`
}

// EMQXIdentity is what a cluster keeps of who has logged in.
type EMQXIdentity struct {
	Attrs    map[string]string `json:"client_attrs,omitempty" doc:"cardea_credential and cardea_principal"`
	ExpireAt int64             `json:"expire_at,omitempty" doc:"Seconds since 1970; absent: never"`
}

// EMQXAccess is what a cluster asks before somebody publishes or subscribes.
type EMQXAccess struct {
	Credential string `json:"credential,omitempty" example:"7Gq0bXv2LmNp" doc:"${client_attrs.cardea_credential}"`
	Username   string `json:"username,omitempty" doc:"${username}; used if there is no credential, and only if it is a token"`
	ClientID   string `json:"clientid,omitempty" example:"pump-1" doc:"${clientid}"`
	PeerHost   string `json:"peerhost,omitempty" example:"10.1.2.3" doc:"${peerhost}"`
	Action     string `json:"action" example:"publish" enum:"publish,subscribe" doc:"${action}"`
	Topic      string `json:"topic" example:"db/append/example" doc:"${topic}"`
	QoS        string `json:"qos,omitempty" example:"1" doc:"${qos}; left out, it must be allowed for each"`
	Retain     string `json:"retain,omitempty" example:"false" doc:"${retain}; left out, it must be allowed with and without"`
}

// EMQXScramUser is what a cluster asks when a handshake of SCRAM begins.
type EMQXScramUser struct {
	Username   string `json:"username" example:"alice" doc:"${username}"`
	ClientID   string `json:"clientid,omitempty" example:"alice-1" doc:"${clientid}"`
	PeerHost   string `json:"peerhost,omitempty" example:"10.1.2.3" doc:"${peerhost}"`
	Algorithm  string `json:"algorithm,omitempty" example:"sha256" doc:"The authenticator's: sha256, which is the default, or sha512"`
	Iterations string `json:"iteration_count,omitempty" example:"4096" doc:"The authenticator's; 4096 is the default"`
}

// EMQXScramKeys is the answer to [EMQXScramUser]; the keys are in hexadecimal digits.
type EMQXScramKeys struct {
	StoredKey Secret `json:"stored_key"`
	ServerKey Secret `json:"server_key"`
	Salt      string `json:"salt"`
	Superuser bool   `json:"is_superuser" doc:"Never true"`
	EMQXIdentity
}
