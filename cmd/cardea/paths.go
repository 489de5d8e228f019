package main

// Paths of the API that the commands use; %s are names, escaped by [at].
const (
	pathKeys        = "/api/v1/keys"
	pathKeyRotate   = "/api/v1/keys/%s/rotate"
	pathRoot        = "/api/v1/ca"
	pathPrincipals  = "/api/v1/principals"
	pathPrincipal   = "/api/v1/principals/%s"
	pathCredentials = "/api/v1/credentials"
	pathCredential  = "/api/v1/credentials/%s"
	pathScopes      = "/api/v1/scopes"
	pathScope       = "/api/v1/scopes/%s"
	pathRoles       = "/api/v1/roles"
	pathRole        = "/api/v1/roles/%s"
	pathRoutes      = "/api/v1/routes"
	pathSessions    = "/api/v1/sessions"
	pathSession     = "/api/v1/sessions/%s"
	pathEvents      = "/api/v1/events"
	pathExport      = "/api/v1/events/export"
	pathAuditVerify = "/api/v1/events/verify"
	pathRefusals    = "/api/v1/refusals"
	pathVerify      = "/api/v1/verify"
	pathExplain     = "/api/v1/explain"
	pathAdminToken  = "/api/v1/system/admin-token"
	pathAdminLink   = "/api/v1/system/admin-link"

	pathBackup      = "/api/v1/system/backup"
	pathAcceptClock = "/api/v1/system/accept-clock"
	pathDoctor      = "/api/v1/system/doctor"
	// of this command's own, on the socket only
	pathLocalInfo      = "/local/info"
	pathKeystoreStatus = "/local/keystore"
	pathKeystoreRotate = "/local/keystore/rotate"
	pathLocalDoctor    = "/local/doctor"
)
