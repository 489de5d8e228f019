// Package authority is the only writer: every use case of Cardea is a method
// of [Authority], and nothing else gives [credential.Store.Commit] a change.
//
// Each method takes the caller as an argument, checks its right, checks the
// whole request and names every fault at once, does the work, commits it with
// one event for each thing that was changed, and answers after this node's gate
// has taken note. So a revocation that was answered is a revocation that holds.
//
//	issued, err := auth.CreateCredential(ctx, caller, authority.NewCredential{
//		Kind: credential.APIKey, Principal: "billing", Scopes: []string{"telemetry:read"},
//	})
//
// # Rights
//
// A right is a rule of the API: an action "api:NOUN:VERB" on "/NOUN/NAME". For
// credentials and sessions NAME is the name of the principal, for routes it is the
// prefix, for authenticators the listener: its name, or the route's prefix, which only /authenticators/** reaches. A list asks for the name "*", unless it is a list of one principal's.
//
//	use case                           right                 on                     and the caller must have what it gives away
//	CreatePrincipal                    principals:create     /principals/NAME       the roles' rules
//	UpdatePrincipal                    principals:update     /principals/NAME       rules that it did not have before; all of them to enable it again
//	DeletePrincipal                    principals:delete     /principals/NAME
//	Principal, Principals              principals:read       /principals/NAME, *
//	CreateCredential, …Credentials     credentials:create    /credentials/PRINCIPAL the principal's rules, or those of the credential's scopes
//	UpdateCredential                   credentials:update    /credentials/PRINCIPAL rules that it did not have before; as for create to let it come from more networks
//	Rotate, RotateKey                  credentials:rotate    /credentials/PRINCIPAL as for create: it returns a secret
//	Retire                             credentials:rotate    /credentials/PRINCIPAL
//	Extend                             credentials:extend    /credentials/PRINCIPAL as for create: it gives away more time
//	Revoke                             credentials:revoke    /credentials/PRINCIPAL
//	DeleteCredential                   credentials:delete    /credentials/PRINCIPAL
//	Credential, Credentials            credentials:read      /credentials/PRINCIPAL, *
//	GenerateKey                        principals:create     /principals/ID         the rules of the scopes, or of the role device
//	                                   credentials:create    /credentials/ID
//	PutScope                           scopes:create, update /scopes/NAME           the rules
//	DeleteScope                        scopes:delete         /scopes/NAME
//	Scope, Scopes                      scopes:read           /scopes/NAME, *
//	PutRole                            roles:create, update  /roles/NAME            the rules of its scopes
//	DeleteRole                         roles:delete          /roles/NAME
//	Role, Roles                        roles:read            /roles/NAME, *
//	PutRoute                           routes:create, update /routes/PREFIX
//	DeleteRoute                        routes:delete         /routes/PREFIX
//	Routes                             routes:read           /routes/*
//	CreateAuthenticator                authenticators:create /authenticators/LISTENER  the scopes' rules; over MQTT everything, with a service that is asked
//	PutAuthenticator,                  authenticators:update /authenticators/LISTENER  as for create, but to disable it
//	UpdateAuthenticator
//	MoveAuthenticator                  authenticators:update /authenticators/LISTENER
//	DeleteAuthenticator                authenticators:delete /authenticators/LISTENER
//	Authenticator, Authenticators      authenticators:read   /authenticators/LISTENER, *
//	AuthenticatorFor "test"            authenticators:test   /authenticators/LISTENER
//	Sessions                           sessions:read         /sessions/PRINCIPAL, *
//	Kick                               sessions:kick         /sessions/PRINCIPAL
//	Events, Refusals                   events:read           /events/*
//	VerifyLog                          events:verify         /events/*
//	AdminToken, AdminLink, Backup,
//	AcceptClock                        only the local administrator
//
// Beside them, "explain" and "verify" on /credentials/* are asked by the API
// through [Authority.Authorize]. The local administrator may everything.
//
// A thing of another organisation does not exist for the caller (W07). Neither
// does one that it may not read, if it may not do to it what it asks for either;
// who may read it is told which right is missing.
//
// Nobody grants what they do not have (J26). What a change gives away is
// counted as the rules that allow something and were not there before, and the rules
// that deny something and are there no more.
//
// # What an error says about a change
//
// An error of kind Down may come from a commit whose outcome is not known; its
// text says so. Who sends the request again with the same Idempotency-Key gets
// the first answer, secrets included, for 24 hours.
package authority
