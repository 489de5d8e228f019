-- Chains of authenticators, and SCRAM credentials.

CREATE TABLE authenticators (
	id              TEXT PRIMARY KEY,
	org             TEXT NOT NULL,
	type            TEXT NOT NULL,
	listener        TEXT NOT NULL,
	enabled         INTEGER NOT NULL,
	precondition    TEXT NOT NULL,
	rank            INTEGER NOT NULL,
	scopes          TEXT NOT NULL,
	allow_superuser INTEGER NOT NULL,
	deny_on_failure INTEGER NOT NULL,
	sealed          BLOB NOT NULL,
	created_at      INTEGER NOT NULL,
	version         INTEGER NOT NULL
);
CREATE UNIQUE INDEX authenticators_local ON authenticators (org, listener, type) WHERE type IN ('token', 'certificate', 'scram');

ALTER TABLE credentials ADD COLUMN username TEXT NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN algorithm TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX credentials_username ON credentials (org, username) WHERE username <> '' AND state IN ('active', 'quarantined');
