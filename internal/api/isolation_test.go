package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/view"
)

// isolation says, for every operation, what callers of one organisation try with what is another's, and what becomes of it.
// A line is STATUS METHOD PATH BODY. STATUS may be several, as in 403|404; "list" is 200 with nothing of the other's in it.
// What is under /me is asked by a user, the rest by a service. "-" before it: not for callers of the organisation default, to whom it belongs. What braces stand for is in [rival].
//
// An operation that is new needs a line here. Ask of it: which id, name, filter, cursor or key of a rival can stand in it?
var isolation = map[string][]string{
	"createOrg": {`-403 POST /orgs {"name":"third"}`, `-403 POST /orgs {"name":"rival"}`},
	"listOrgs":  {`-list GET /orgs`},
	"getOrg":    {`-404 GET /orgs/rival`},
	"patchOrg":  {`-404 PATCH /orgs/rival {"description":"x"}`, `-404 PATCH /orgs/rival {"disabled":true}`},
	"deleteOrg": {`-404 DELETE /orgs/rival`},

	"listProjects":  {`list GET /projects`},
	"getProject":    {`404 GET /projects/their-project`},
	"putProject":    {`412 PUT /projects/their-project {"resources":[]}`},
	"deleteProject": {`404 DELETE /projects/their-project`},

	"createPrincipal": {
		`201 POST /principals {"kind":"service","name":"their-twin"}`, // a name that is taken elsewhere is free here; the key is one that the rival has used
		`422 POST /principals {"kind":"service","name":"mine","roles":["their-role"]}`,
	},
	"listPrincipals":  {`list GET /principals`, `list GET /principals?role=their-role`, `list GET /principals?cursor={PCURSOR}`},
	"getPrincipal":    {`404 GET /principals/their-pump`, `404 GET /principals/{P}`, `404 GET /principals/{GONE}`},
	"patchPrincipal":  {`404 PATCH /principals/their-pump {"disabled":true}`, `404 PATCH /principals/{P} {"roles":[]}`},
	"deletePrincipal": {`404 DELETE /principals/their-pump`, `404 DELETE /principals/{P}`},

	"createCredential": {
		`422 POST /credentials {"kind":"device_token","principal":"their-pump"}`,
		`422 POST /credentials {"kind":"device_token","principal":"{P}"}`,
		`422 POST /credentials {"kind":"api_key","principal":"self","scopes":["their:scope"]}`,
		`422 POST /credentials {"kind":"api_key","principal":"self","owner":"their-user"}`,
		`422 POST /credentials {"kind":"api_key","principal":"self","owner":"{U}"}`,
		`422 POST /credentials {"kind":"oauth_client","principal":"self","client":{"audiences":["https://their-api.test"]}}`,
		`422 POST /credentials {"kind":"oauth_client","principal":"self","client":{"may_act":"their-pump"}}`,
		`422 POST /credentials {"kind":"oauth_client","principal":"self","client":{"may_act":"{P}"}}`,
	},
	"createCredentials": {
		`422 POST /credentials/batch {"credentials":[{"kind":"device_token","principal":"{P}"}]}`,
		`422 POST /credentials/batch {"credentials":[{"kind":"api_key","principal":"self","scopes":["their:scope"]}]}`,
	},
	"listCredentials": {
		`list GET /credentials`, `404 GET /credentials?principal={P}`, `404 GET /credentials?principal=their-pump`,
		`list GET /credentials?scope=their:scope`, `list GET /credentials?tag=their-tag`, `list GET /credentials?project=their-project`,
		`list GET /credentials?cursor={CCURSOR}`, `list GET /credentials?parent={C}`, `list GET /credentials?kind=session`, `list GET /credentials?kind=password`, `404|422 GET /credentials?owner={U}`, `404|422 GET /credentials?owner=their-user`,
	},
	"exportCredentials": {
		`list GET /credentials/export`, `404 GET /credentials/export?principal={P}`, `list GET /credentials/export?tag=their-tag`, `list GET /credentials/export?format=json`,
	},
	"getCredentialUsage": {`404 GET /credentials/{C}/usage`},
	"getInventory":       {`list GET /inventory`},
	"getCredential":      {`404 GET /credentials/{C}`},
	"patchCredential": {
		`404 PATCH /credentials/{C} {"description":"x"}`,
		`422 PATCH /credentials/{OWN} {"owner":"{U}"}`, `422 PATCH /credentials/{OWN} {"scopes":["their:scope"]}`,
	},
	"previewCredential": {
		`422 POST /credentials/preview {"kind":"device_token","principal":"their-pump"}`, `422 POST /credentials/preview {"kind":"device_token","principal":"{P}"}`,
	},
	"approveCredential":    {`404 POST /credentials/{C}/approve {}`},
	"denyCredential":       {`404 POST /credentials/{C}/deny {"reason":"x"}`},
	"deleteCredential":     {`404 DELETE /credentials/{C}`},
	"rotateCredential":     {`404 POST /credentials/{C}/rotate {"overlap":"1h"}`},
	"retireVersion":        {`404 POST /credentials/{C}/retire {"version":1}`},
	"extendCredential":     {`404 POST /credentials/{C}/extend {"ttl":"3000d"}`},
	"revokeCredential":     {`404 POST /credentials/{C}/revoke {}`},
	"quarantineCredential": {`404 POST /credentials/{C}/quarantine {}`},
	"releaseCredential":    {`404 POST /credentials/{C}/release {}`},
	"createKey":            {`422 POST /keys {"id":"mine","scopes":["their:scope"]}`},
	"rotateKey":            {`404 POST /keys/their-pump/rotate {"overlap":"1h"}`, `404 POST /keys/{P}/rotate {"overlap":"1h"}`},

	"listPolicies":                    {`list GET /policies`},
	"getPolicy":                       {`list GET /policies/pat`},
	"putPolicy":                       {`200|412 PUT /policies/pat {}`},
	"patchPolicy":                     {`200 PATCH /policies/pat {"notices":["3d"]}`},
	"resetPolicy":                     {`204|404 DELETE /policies/pat`},
	"createApplicationKey":            {`422 POST /app-keys {"name":"mine","user":"their-user"}`, `422 POST /app-keys {"name":"mine","user":"{U}"}`},
	"listApplicationKeys":             {`list GET /app-keys`, `404 GET /app-keys?user=their-user`, `list GET /app-keys?tag=their-tag`, `list GET /app-keys?cursor={CCURSOR}`},
	"getApplicationKey":               {`404 GET /app-keys/{K}`, `404 GET /app-keys/their-app`, `404 GET /app-keys/{C}`},
	"deleteApplicationKey":            {`404 DELETE /app-keys/{K}`, `404 DELETE /app-keys/their-app`},
	"getKeyID":                        {`404 POST /app-keys/{K}/key-id`, `404 POST /app-keys/their-app/key-id`},
	"getUserName":                     {`404 GET /app-keys/{K}/user-name`, `404 GET /app-keys/their-app/user-name`},
	"setUserName":                     {`404 PUT /app-keys/{K}/user-name {"user_name":"self"}`, `404 PUT /app-keys/their-app/user-name {"user_name":"self"}`},
	"setClientName":                   {`404 PUT /app-keys/{K}/client-name {"client_name":"x"}`},
	"setIPWhitelist":                  {`404 PUT /app-keys/{K}/ip-whitelist {"ip_whitelist":""}`},
	"getExpirationDate":               {`404 GET /app-keys/{K}/expiration-date`},
	"setExpirationDate":               {`404 PUT /app-keys/{K}/expiration-date {"expiration_date":"2099-01-01T00:00:00Z"}`},
	"resetExpirationDateToDefault":    {`404 POST /app-keys/{K}/expiration-date/reset`},
	"isExpired":                       {`404 GET /app-keys/{K}/is-expired`},
	"getApplicationKeyExpirationInfo": {`list GET /app-keys/expiration-info`, `404 GET /app-keys/expiration-info?user={U}`},
	"deleteApplicationKeys":           {`list DELETE /app-keys?expired=true&unexpired=true`, `404 DELETE /app-keys?unexpired=true&user=their-user`},
	"pruneCredentials":                {`list POST /credentials/prune {}`, `404 POST /credentials/prune {"principal":"{P}"}`},
	"revealCredential":                {`404 POST /credentials/{K}/reveal`, `404 POST /credentials/{C}/reveal`},
	"putAvatar":                       {`404 PUT /credentials/{K}/avatar x`},
	"getAvatar":                       {`404 GET /credentials/{K}/avatar`},
	"deleteAvatar":                    {`404 DELETE /credentials/{K}/avatar`},

	"createScope": {`201 POST /scopes {"name":"their:twin","rules":[{"permission":"allow","action":"mqtt:publish","resource":"acme/#"}]}`},
	"listScopes":  {`list GET /scopes`},
	"getScope":    {`404 GET /scopes/their:scope`},
	"putScope":    {`412 PUT /scopes/their:scope {"rules":[{"permission":"allow","action":"mqtt:publish","resource":"acme/#"}]}`},
	"deleteScope": {`404 DELETE /scopes/their:scope`},
	"createRole":  {`201 POST /roles {"name":"their-twin","scopes":[]}`, `422 POST /roles {"name":"mine","scopes":["their:scope"]}`},
	"listRoles":   {`list GET /roles`},
	"getRole":     {`404 GET /roles/their-role`},
	"putRole":     {`412 PUT /roles/their-role {"scopes":[]}`},
	"deleteRole":  {`404 DELETE /roles/their-role`},

	"listFormats":  {`list GET /formats`},
	"getFormat":    {`404 GET /formats/their-format`},
	"putFormat":    {`412 PUT /formats/their-format {"scheme":"sha256","bits":128}`},
	"deleteFormat": {`404 DELETE /formats/their-format`},
	"startImport":  {`list POST /imports {"name":"mine","digest":"{DIGEST}"}`}, // of a file that the rival imports too
	"listImports":  {`list GET /imports`},
	"getImport":    {`404 GET /imports/{I}`},
	"importRows":   {`404 POST /imports/{I}/rows {"from":1,"rows":[{"kind":"api_key","principal":"self"}]}`},
	"finishImport": {`404 POST /imports/{I}/finish`},
	"tryImport": {
		`list POST /imports/try {"rows":[{"kind":"api_key","principal":"their-pump","format":"their-format","hash":"00","project":"their-project","scopes":["their:scope"]}]}`,
	},

	"createAPI": {
		`201 POST /apis {"name":"their-twin-api","audience":"https://their-twin.test"}`, // name and audience are free here
		`422 POST /apis {"name":"mine","audience":"https://mine.test","scopes":["their:scope"]}`,
		`422 POST /apis {"name":"mine","audience":"https://mine.test","introspectors":["their-pump"]}`,
		`422 POST /apis {"name":"mine","audience":"https://mine.test","introspectors":["{P}"]}`,
	},
	"listAPIs":  {`list GET /apis`},
	"getAPI":    {`404 GET /apis/their-api`},
	"patchAPI":  {`404 PATCH /apis/their-api {"scopes":[]}`},
	"deleteAPI": {`404 DELETE /apis/their-api`},
	"revokeAccessToken": {
		`404 POST /tokens/revoke {"token":"{ACCESS}"}`, `404 POST /tokens/revoke {"jti":"{JTI}","credential":"{CLIENT}"}`,
	},

	"listSessions": {`list GET /sessions`, `404 GET /sessions?principal=their-pump`, `404 GET /sessions?principal={P}`, `list GET /sessions?credential={C}`},
	"kickSession":  {`404 DELETE /sessions/{S}`},
	"listEvents": {
		`list GET /events`, `list GET /events?newest=true&limit=500`, `list GET /events?subject={C}`, `list GET /events?subject=their-pump`, `list GET /events?actor=their-boss`,
		`list GET /events?cursor=1`,
	},
	"exportEvents": {`list GET /events/export`, `list GET /events/export?subject={P}`},
	"verifyEvents": {`-403 POST /events/verify`},
	"listRefusals": {`list GET /refusals?limit=500`},
	"verify":       {`list POST /verify {"token":"{TOKEN}"}`, `list POST /verify {"token":"{TOKEN}","action":"mqtt:publish","resource":"rival/x"}`, `list POST /verify {"token":"{ACCESS}"}`},
	"explain":      {`list POST /explain {"token":"{TOKEN}","action":"mqtt:publish","resource":"rival/x"}`},
	"whoami":       {`list GET /whoami`},

	"setPassword":      {`404 POST /users/their-user/password {"password":"purple tractor lemon window"}`, `404 POST /users/{U}/password {"password":"purple tractor lemon window"}`},
	"removePassword":   {`404 DELETE /users/their-user/password`, `404 DELETE /users/{U}/password`},
	"inviteUser":       {`404 POST /users/their-user/invite`, `404 POST /users/{U}/invite`},
	"reportLeaks":      {`202 POST /leaks {"leaks":[{"token":"nonsense"}]}`},
	"createWebhook":    {`422 POST /webhooks {"url":"nonsense"}`},
	"listWebhooks":     {`list GET /webhooks`},
	"getWebhook":       {`404 GET /webhooks/{W}`},
	"patchWebhook":     {`404 PATCH /webhooks/{W} {"enabled":false}`},
	"deleteWebhook":    {`404 DELETE /webhooks/{W}`},
	"rotateWebhook":    {`404 POST /webhooks/{W}/rotate {}`},
	"testWebhook":      {`404 POST /webhooks/{W}/test`},
	"listDeliveries":   {`404 GET /webhooks/{W}/deliveries`},
	"login":            {`401 POST /login {"name":"their-user","password":"nine violins under a Danish roof"}`},
	"activate":         {`401 POST /activate {"org":"acme","code":"{CODE}","password":"purple tractor lemon window"}`},
	"logout":           {`409 POST /logout`},
	"getMe":            {`list GET /me`},
	"changeMyPassword": {`422 POST /me/password {"current":"nine violins under a Danish roof","password":"purple tractor lemon window"}`},
	"listMyTokens":     {`list GET /me/tokens`},
	"createMyToken":    {`422 POST /me/tokens {"name":"mine","scopes":["their:scope"]}`},
	"getMyToken":       {`404 GET /me/tokens/{PAT}`},
	"revokeMyToken":    {`404 POST /me/tokens/{PAT}/revoke {}`},
	"renewMyToken":     {`404 POST /me/tokens/{PAT}/renew {"ttl":"300d"}`},
	"rotateMyToken":    {`404 POST /me/tokens/{PAT}/rotate {"overlap":"1h"}`},

	"getTrustAnchor": {`list GET /ca`}, // public, and the same for all

	// What is of the installation is no other organisation's.
	"createRoute":             {`-403 POST /routes {"prefix":"/mine/","upstream":"http://127.0.0.1:1"}`},
	"listRoutes":              {`-403 GET /routes`},
	"putRoute":                {`-403 PUT /routes {"prefix":"/db/","upstream":"http://127.0.0.1:1"}`},
	"deleteRoute":             {`-403|404 DELETE /routes?prefix=/db/`},
	"listSigningKeys":         {`-403 GET /signing-keys`},
	"rotateSigningKeys":       {`-403 POST /signing-keys {"alg":"ES256"}`},
	"revokeSigningKey":        {`-404|403 POST /signing-keys/{KID}/revoke {}`},
	"createAuthenticator":     {`-403 POST /authenticators {"type":"token","listener":"spare"}`},
	"listAuthenticators":      {`-403 GET /authenticators`, `-403 GET /authenticators?listener=default`},
	"getAuthenticator":        {`-404 GET /authenticators/{A}`},
	"putAuthenticator":        {`-404 PUT /authenticators/{A} {"enable":true}`},
	"patchAuthenticator":      {`-404 PATCH /authenticators/{A} {"enable":false}`},
	"deleteAuthenticator":     {`-404 DELETE /authenticators/{A}`},
	"moveAuthenticator":       {`-404 POST /authenticators/{A}/move {"position":"rear"}`},
	"testAuthenticator":       {`-404 POST /authenticators/{A}/test {}`},
	"getAuthenticatorMetrics": {`-404 GET /authenticators/{A}/metrics`},
	"emqxAuthn":               {`-403 POST //backend/emqx/authn {"username":"{TOKEN}"}`},
	"emqxAuthz":               {`-403 POST //backend/emqx/authz {"credential":"{C}","action":"publish","topic":"rival/x"}`},
	"emqxScram":               {`-403 POST //backend/emqx/scram {"username":"their-login"}`},
}

// rival is an organisation that has one of everything.
type rival struct {
	w      *world
	marks  []string // what must be seen nowhere else
	stands *strings.Replacer
}

// in asks as the local administrator in an organisation.
func (w *world) in(org, method, path string, body any, headers ...with) *result {
	w.Helper()
	return w.local(method, path, body, append(headers, with{headerOrg, org})...)
}

// boss makes an owner of an organisation, and returns a token of it.
func (w *world) boss(org, name string) string {
	w.Helper()
	w.in(org, "POST", "/principals", view.NewPrincipal{Kind: "service", Name: name, Roles: []string{"owner"}}).is(201)
	var i view.Issued
	w.in(org, "POST", "/credentials", view.NewCredential{Kind: "api_key", Principal: name}).is(201).into(&i)
	return i.Secret.Reveal()
}

func newRival(w *world) *rival {
	w.Helper()
	w.local("POST", "/orgs", view.NewOrg{Name: "rival"}).is(201)
	boss := w.boss("rival", "their-boss")
	do := func(method, path string, body any, v any, headers ...with) {
		w.Helper()
		r := w.as(boss, method, path, body, headers...)
		if r.status/100 != 2 {
			w.Fatalf("%s: %s", r.asked, r.body)
		}
		if v != nil {
			r.into(v)
		}
	}
	rules := view.PutScope{Rules: []view.Rule{{Permission: "allow", Action: "mqtt:*", Resource: "rival/#"}}}
	do("POST", "/scopes", view.NewScope{Name: "their:scope", PutScope: rules}, nil)
	do("POST", "/scopes", view.NewScope{Name: "their:twin", PutScope: rules}, nil)
	do("POST", "/roles", view.NewRole{Name: "their-role", PutRole: view.PutRole{Scopes: []string{"their:scope"}}}, nil)
	do("POST", "/roles", view.NewRole{Name: "their-twin", PutRole: view.PutRole{Scopes: []string{}}}, nil)
	do("PUT", "/projects/their-project", view.PutProject{Resources: []string{"mqtt:rival/x/#"}}, nil)
	var pump, twin, gone view.PrincipalView
	do("POST", "/principals", view.NewPrincipal{Kind: "device", Name: "their-pump", Roles: []string{"their-role"}}, &pump)
	do("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "their-twin"}, &twin, with{"Idempotency-Key", "their-key"})
	do("POST", "/principals", view.NewPrincipal{Kind: "service", Name: "their-ghost"}, &gone)
	do("DELETE", "/principals/their-ghost", nil, nil)
	var user view.PrincipalView
	var code view.Invited
	var pat view.Issued
	do("POST", "/principals", view.NewPrincipal{Kind: "user", Name: "their-user", Roles: []string{"their-role"}}, &user)
	do("POST", "/users/their-user/password", view.SetPassword{Password: goodPassword}, nil)
	do("POST", "/users/their-user/invite", nil, &code)
	do("POST", "/credentials", view.NewCredential{Kind: "pat", Principal: "their-user"}, &pat)
	do("PATCH", "/policies/pat", `{"default_lifetime":"77d","max_lifetime":"78d"}`, nil)
	var key view.Issued
	var hook view.Webhook
	do("POST", "/webhooks", view.NewWebhook{URL: "https://their-hook.example.com/"}, &hook)
	do("POST", "/app-keys", view.NewAppKey{Name: "their-app", User: "their-user", Tags: []string{"their-tag"}}, &key)
	var token, login view.Issued
	do("POST", "/credentials", view.NewCredential{
		Kind: "device_token", Principal: "their-pump", Name: "their-token", Scopes: []string{"their:scope"}, Tags: []string{"their-tag"}, Project: "their-project", Owner: "their-user",
	}, &token)
	do("POST", "/credentials", view.NewCredential{Kind: "scram", Principal: "their-pump", Username: "their-login"}, &login)
	var client view.Issued
	do("POST", "/apis", view.NewAPI{Name: "their-api", Audience: "https://their-api.test"}, nil)
	do("POST", "/apis", view.NewAPI{Name: "their-twin-api", Audience: "https://their-twin.test"}, nil)
	do("POST", "/credentials", view.NewCredential{Kind: "oauth_client", Principal: "their-pump", Client: &view.Client{}}, &client)
	access := w.accessToken(client)
	var credentials, principals view.Page[json.RawMessage]
	do("GET", "/credentials?limit=1", nil, &credentials)
	do("GET", "/principals?limit=1", nil, &principals)

	do("PUT", "/formats/their-format", view.PutFormat{Scheme: "sha256", Bits: 128}, nil)
	digest := strings.Repeat("ab", 32)
	var im view.Import
	do("POST", "/imports", view.NewImport{Name: "their-file", Digest: digest}, &im)

	id, out := w.gate.Authenticate(w.Context(), &gate.Evidence{Token: token.Secret.Reveal(), Door: "http"})
	if out.Reason != credential.OK {
		w.Fatal(out.Reason)
	}
	if _, reason := w.gate.Watch(w.Context(), id, gate.Live{Door: "http", Kind: "stream", About: "GET /rival/their-stream", Cut: func(credential.Reason) {}}); reason != credential.OK {
		w.Fatal(reason)
	}
	var live view.Page[view.Session]
	do("GET", "/sessions", nil, &live)
	if len(live.Items) != 1 {
		w.Fatalf("sessions %+v", live)
	}
	var keys view.Page[view.SigningKey]
	w.local("GET", "/signing-keys", nil).is(200).into(&keys)
	var chain view.Page[struct{ ID string }]
	w.local("GET", "/authenticators", nil).is(200).into(&chain)
	secret := token.Secret.Reveal()
	var ended view.Issued
	do("POST", "/credentials", view.NewCredential{Kind: "device_token", Principal: "their-pump"}, &ended)
	do("POST", "/credentials/"+ended.ID+"/revoke", view.Revoke{}, nil)
	w.as(ended.Secret.Reveal(), "GET", "/whoami", nil).is(401) // which is a refusal
	r := &rival{
		w: w,
		marks: []string{
			user.ID, "their-user", code.Code.Reveal(), pat.ID, key.ID, key.Secret.Reveal(), "their-app", hook.ID, "their-hook", pump.ID, twin.ID, gone.ID, token.ID, ended.ID, login.ID, live.Items[0].ID, secret, "their-boss", "their-pump", "their-ghost", "their-token", "their-login",
			"their:scope", "their-role", "their-project", "their-tag", "their-stream", "their-api", access.Token, access.ID, client.ID, client.Secret.Reveal(), `"77d"`, "rival/x", "their-format", "their-file", im.ID,
		},
		stands: strings.NewReplacer("{U}", user.ID, "{CODE}", code.Code.Reveal(), "{PAT}", pat.ID, "{K}", key.ID, "{W}", hook.ID, "{P}", pump.ID, "{GONE}", gone.ID, "{C}", token.ID, "{S}", live.Items[0].ID, "{TOKEN}", secret, "{A}", chain.Items[0].ID,
			"{KID}", keys.Items[0].KID, "{CLIENT}", client.ID, "{ACCESS}", access.Token, "{JTI}", access.ID, "{DIGEST}", digest, "{I}", im.ID,
			"{CCURSOR}", credentials.NextCursor, "{PCURSOR}", principals.NextCursor),
	}
	for recorded := false; !recorded; {
		var all view.Page[view.Refusal]
		w.in("rival", "GET", "/refusals", nil).is(200).into(&all)
		recorded = slices.ContainsFunc(all.Items, func(r view.Refusal) bool { return r.Credential == ended.ID })
	}
	return r
}

// state is all that a rival has, as its owner and the database see it.
func (r *rival) state() string {
	r.w.Helper()
	var all []string
	for _, path := range []string{
		"/orgs/rival", "/projects", "/policies", "/principals?limit=500", "/credentials?limit=500", "/scopes", "/roles", "/apis", "/sessions", "/events?limit=500", "/formats", "/imports",
	} {
		all = append(all, string(r.w.in("rival", "GET", path, nil).is(200).body))
	}
	return strings.Join(all, "\n")
}

// try makes one attempt of the table.
func (r *rival) try(t *testing.T, token, attempt string) {
	t.Helper()
	parts := strings.SplitN(r.stands.Replace(attempt), " ", 4)
	want, method, path := parts[0], parts[1], parts[2]
	var body any
	if len(parts) == 4 {
		body = parts[3]
	}
	var headers []with
	switch {
	case method == http.MethodPut:
		headers = append(headers, with{"If-Match", "*"}) // so that none of the caller's own is made
	case method == http.MethodPost && path == "/principals":
		headers = append(headers, with{"Idempotency-Key", "their-key"})
	}
	got := r.w.as(token, method, path, body, headers...)
	if want == "list" {
		got.is(200)
	} else if !slices.Contains(strings.Split(want, "|"), strconv.Itoa(got.status)) {
		t.Errorf("%s: status %d, want %s: %s", got.asked, got.status, want, got.body)
	}
	asked := strings.Join(parts[1:], " ")
	for _, mark := range r.marks {
		if strings.Contains(string(got.body), mark) && !(got.status/100 == 4 && strings.Contains(asked, mark)) {
			at := strings.Index(string(got.body), mark)
			t.Errorf("%s shows %q: …%s", got.asked, mark, got.body[max(0, at-200):min(len(got.body), at+200)])
		}
	}
}

// W07: for every operation of the document, whatever of another organisation somebody puts into it who may everything in their
// own: it is as if it did not exist, nothing happens to it, and no list shows it.
func TestNothingReachesAnotherOrganisation(t *testing.T) {
	for _, who := range []string{"acme", credential.DefaultOrg} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t)
			if who != credential.DefaultOrg {
				w.local("POST", "/orgs", view.NewOrg{Name: who}).is(201)
			}
			token := w.boss(who, "self")
			w.in(who, "POST", "/principals", view.NewPrincipal{Kind: "user", Name: "own-user", Roles: []string{"owner"}}).is(201)
			var pat view.Issued
			w.in(who, "POST", "/credentials", view.NewCredential{Kind: "pat", Principal: "own-user"}).is(201).into(&pat)
			r := newRival(w)
			var self view.WhoAmI
			w.as(token, "GET", "/whoami", nil).is(200).into(&self)
			before := r.state()
			left := map[string]bool{}
			for id := range isolation {
				left[id] = true
			}
			for path, ops := range w.document().Paths {
				for method, o := range ops {
					attempts, known := isolation[o.ID]
					if delete(left, o.ID); !known || len(attempts) == 0 {
						t.Errorf("%s %s (%s): nobody has said what it does with what is of another organisation", method, path, o.ID)
					}
					for _, attempt := range attempts {
						others, ofInstallation := strings.CutPrefix(strings.ReplaceAll(attempt, "{OWN}", self.Credential), "-")
						if !strings.Contains(attempt, " "+strings.ToUpper(method)+" ") {
							t.Errorf("%s: %s is of another operation", o.ID, attempt)
						}
						if !ofInstallation || who != credential.DefaultOrg {
							by := token
							if strings.Contains(others, " /me") {
								by = pat.Secret.Reveal()
							}
							r.try(t, by, others)
						}
					}
				}
			}
			for id := range left {
				t.Errorf("there is no operation %s any more", id)
			}
			if diff := cmp.Diff(before, r.state()); diff != "" {
				t.Errorf("something happened to the other organisation:\n%s", diff)
			}
		})
	}
}

// The local administrator acts in the organisation that a header names; whoever has a credential, in that of the credential.
func TestHeaderNamesTheOrganisation(t *testing.T) {
	w := newWorld(t)
	w.local("POST", "/orgs", view.NewOrg{Name: "acme"}).is(201)
	token := w.boss("acme", "self")
	for _, c := range []struct {
		org    string
		status int
	}{{"acme", 200}, {"default", 400}, {"nowhere", 400}} {
		w.as(token, "GET", "/whoami", nil, with{headerOrg, c.org}).is(c.status)
	}
	w.as(token, "GET", "/whoami", nil, with{headerOrg, "acme"}, with{headerOrg, "acme"}).problem(400) // H21
	w.as("", "GET", "/whoami", nil, with{headerOrg, "nowhere"}).problem(401)
	var who view.WhoAmI
	w.in("acme", "GET", "/whoami", nil).is(200).into(&who)
	if who.Org != "acme" || !who.Local {
		t.Errorf("%+v", who)
	}
	w.in("nowhere", "GET", "/whoami", nil).problem(404)
	w.in("Acme", "GET", "/whoami", nil).problem(404) // E03
	w.in("acme", "GET", "/system/doctor", nil).problem(403)
	w.in("acme", "POST", "/system/backup", nil).is(403)
	w.in("acme", "POST", "/system/accept-clock", nil).problem(403)
	w.in("default", "GET", "/system/doctor", nil).is(200)

	// its log is its own; the whole of it is shown without the header
	var own, all view.Page[view.Event]
	w.in("acme", "GET", "/events?limit=500", nil).is(200).into(&own)
	w.local("GET", "/events?limit=500", nil).is(200).into(&all)
	if len(own.Items) == 0 || len(own.Items) >= len(all.Items) || slices.ContainsFunc(own.Items, func(e view.Event) bool { return e.Org != "acme" }) {
		t.Errorf("%d of %d events", len(own.Items), len(all.Items))
	}
}
