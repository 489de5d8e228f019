-- Chains of authenticators, and SCRAM credentials.

CREATE TABLE authenticators (
	id              TEXT COLLATE "C" PRIMARY KEY,
	org             TEXT COLLATE "C" NOT NULL,
	type            TEXT COLLATE "C" NOT NULL,
	listener        TEXT COLLATE "C" NOT NULL,
	enabled         BIGINT NOT NULL,
	precondition    TEXT COLLATE "C" NOT NULL,
	rank            BIGINT NOT NULL,
	scopes          TEXT COLLATE "C" NOT NULL,
	allow_superuser BIGINT NOT NULL,
	deny_on_failure BIGINT NOT NULL,
	sealed          BYTEA NOT NULL,
	created_at      BIGINT NOT NULL,
	version         BIGINT NOT NULL
);
CREATE UNIQUE INDEX authenticators_local ON authenticators (org, listener, type) WHERE type IN ('token', 'certificate', 'scram');

ALTER TABLE credentials ADD COLUMN username TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN algorithm TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE UNIQUE INDEX credentials_username ON credentials (org, username) WHERE username <> '' AND state IN ('active', 'quarantined');
