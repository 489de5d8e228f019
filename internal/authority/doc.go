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
//	CreateOrg                          orgs:create           /orgs/NAME             everything on the resources
//	UpdateOrg                          orgs:update           /orgs/NAME             everything on resources that it did not have before
//	DeleteOrg                          orgs:delete           /orgs/NAME
//	Org, Orgs                          orgs:read             /orgs/NAME, *
//	PutProject                         projects:create, update /projects/NAME       everything on resources that it did not have before
//	DeleteProject                      projects:delete       /projects/NAME
//	Project, Projects                  projects:read         /projects/NAME, *
//	CreatePrincipal                    principals:create     /principals/NAME       the roles' rules
//	UpdatePrincipal                    principals:update     /principals/NAME       rules that it did not have before; all of them to enable it again
//	DeletePrincipal                    principals:delete     /principals/NAME
//	Principal, Principals              principals:read       /principals/NAME, *
//	CreateCredential, …Credentials     credentials:create    /credentials/PRINCIPAL the principal's rules, or those of the credential's scopes
//	UpdateCredential                   credentials:update    /credentials/PRINCIPAL rules that it did not have before; as for create to let it come from more networks,
//	                                                                                or to hold it to less: more resources, another project, higher limits
//	… the client of an oauth_client    credentials:update    /credentials/PRINCIPAL as for create
//	… what proves that client          credentials:rotate, too
//	Rotate, RotateKey                  credentials:rotate    /credentials/PRINCIPAL as for create: it returns a secret
//	Reveal                             credentials:reveal    /credentials/PRINCIPAL as for create: it returns a secret
//	SetPrincipal                       credentials:update    /credentials/PRINCIPAL of both; as for create, of the new one
//	SetExpirationDate, Reset…          credentials:extend    /credentials/PRINCIPAL as for create, if it ends later than before
//	DeleteCredentials                  credentials:delete    /credentials/PRINCIPAL, *
//	SetAvatar, DeleteAvatar            credentials:update    /credentials/PRINCIPAL
//	AppKeyID                           credentials:VERB      /credentials/PRINCIPAL
//	Retire                             credentials:rotate    /credentials/PRINCIPAL
//	Extend                             credentials:extend    /credentials/PRINCIPAL as for create: it gives away more time
//	Approve                            credentials:approve   /credentials/PRINCIPAL as for create; never what is the caller's own
//	Deny                               credentials:approve   /credentials/PRINCIPAL
//	PreviewCredential                  credentials:create    /credentials/PRINCIPAL as for create
//	Revoke                             credentials:revoke    /credentials/PRINCIPAL
//	RevokeToken                        credentials:revoke    /credentials/PRINCIPAL; none for who has the token
//	DeleteCredential                   credentials:delete    /credentials/PRINCIPAL
//	Credential, Credentials, Usage,    credentials:read      /credentials/PRINCIPAL, *
//	Avatar, ExpirationInfo
//	Inventory                          inventory:read        /inventory/*
//	GenerateKey                        principals:create     /principals/ID         the rules of the scopes, or of the role device
//	                                   credentials:create    /credentials/ID
//	PutFormat, DeleteFormat, Formats   credentials:import    /credentials/*
//	StartImport, FinishImport, Imports credentials:import    /credentials/*
//	ImportRows, TryImport              credentials:import    /credentials/*, and    as CreateCredential, for each row
//	                                                         /credentials/PRINCIPAL
//	                                   principals:create     /principals/NAME       of those that are made, with the roles' rules
//	PutScope                           scopes:create, update /scopes/NAME           the rules
//	DeleteScope                        scopes:delete         /scopes/NAME
//	Scope, Scopes                      scopes:read           /scopes/NAME, *
//	PutRole                            roles:create, update  /roles/NAME            the rules of its scopes
//	DeleteRole                         roles:delete          /roles/NAME
//	Role, Roles                        roles:read            /roles/NAME, *
//	KindPolicy, KindPolicies           policies:read         /policies/KIND, *
//	SetKindPolicy, ResetKindPolicy     policies:update       /policies/KIND
//	CreateWebhook                      webhooks:create       /webhooks/*            events:read as well: it tells much of who does what
//	UpdateWebhook, DeleteWebhook,      webhooks:update, delete, rotate, test  /webhooks/ID
//	RotateWebhook, TestWebhook
//	Webhook, Webhooks, Deliveries      webhooks:read         /webhooks/ID, *
//	APIs, API                          apis:read             /apis/NAME, *
//	CreateAPI, UpdateAPI, DeleteAPI    apis:create, update, delete /apis/NAME
//	SigningKeys                        signingkeys:read      /signingkeys/*
//	RotateSigningKeys                  signingkeys:rotate    /signingkeys/*
//	RevokeSigningKey                   signingkeys:revoke    /signingkeys/KID
//	PutRoute                           routes:create, update /routes/PREFIX
//	DeleteRoute                        routes:delete         /routes/PREFIX
//	Routes                             routes:read           /routes/*
//	CreateAuthenticator                authenticators:create /authenticators/LISTENER  the scopes' rules; over MQTT everything, with a service that is asked; everything of the
//	                                                                                door, with an issuer that may name any principal
//	PutAuthenticator,                  authenticators:update /authenticators/LISTENER  as for create, but to disable it
//	UpdateAuthenticator
//	MoveAuthenticator                  authenticators:update /authenticators/LISTENER
//	DeleteAuthenticator                authenticators:delete /authenticators/LISTENER
//	Authenticator, Authenticators      authenticators:read   /authenticators/LISTENER, *
//	AuthenticatorFor "test"            authenticators:test   /authenticators/LISTENER
//	SetPassword                        users:password        /users/NAME            the user's rules: it can be them; not for oneself
//	Invite                             users:invite          /users/NAME            the user's rules; not for oneself
//	RemovePassword                     users:password        /users/NAME
//	ChangePassword                     me:password           /me/password           (with the present one proven)
//	OwnTokens, OwnToken                me:read               /me/tokens
//	CreateOwnToken                     me:create             /me/tokens             as CreateCredential; nothing more if what it came with has scopes, resources or networks
//	RenewOwnToken, RotateOwnToken      me:renew              /me/tokens             as Extend and Rotate
//	RevokeOwnToken                     me:revoke             /me/tokens
//	Me, Logout                         (none: about the caller itself)
//	Activate, BeginSession, EndSession (none: the code, or the credential, was shown)
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
// Routes, authenticators, the keys of access tokens, the clusters that ask (the noun backend), VerifyLog, Backup and AcceptClock are of the
// installation: for callers of [credential.DefaultOrg] alone, as are making, widening, disabling and deleting organisations.
// Its callers see all organisations, and nothing in them.
//
// Who comes with an access token ([Caller.Token]) makes nothing that outlives it for themself: no credentials of their own, no more time for them, no session,
// no password, and sees no secret again (J26).
//
// Nobody grants what they do not have (J26). What a change gives away is
// counted as the rules that allow something and were not there before, and the rules
// that deny something and are there no more.
//
// # Policies of kinds
//
// An organisation demands something of its credentials of each kind ([credential.KindPolicy]). A request that goes
// beyond is refused, with the policy and what it allows; it is never changed. What a policy comes to demand later
// touches no credential that exists (L02): it counts from the next creation, rotation, extension or change of that field.
// Where approval is demanded a new credential is pending, unless its maker may approve it and it is not for the maker.
//
// # What an error says about a change
//
// An error of kind Down may come from a commit whose outcome is not known; its
// text says so. Who sends the request again with the same Idempotency-Key gets
// the first answer, secrets included, for 24 hours.
package authority
