-- Times are microseconds since 1970 UTC, 0 for none. Lists and maps are JSON.
-- Rows of principals, credentials and serials stay for ever: their ids are never given out again.

CREATE TABLE principals (
	id          TEXT PRIMARY KEY,
	org         TEXT NOT NULL,
	kind        TEXT NOT NULL,
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	roles       TEXT NOT NULL,
	attrs       TEXT NOT NULL,
	disabled    INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	deleted_at  INTEGER NOT NULL,
	version     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX principals_name ON principals (org, name) WHERE deleted_at = 0;

CREATE TABLE credentials (
	id          TEXT PRIMARY KEY,
	org         TEXT NOT NULL,
	kind        TEXT NOT NULL,
	principal   TEXT NOT NULL REFERENCES principals (id),
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	scopes      TEXT NOT NULL,
	networks    TEXT NOT NULL,
	tags        TEXT NOT NULL,
	project     TEXT NOT NULL,
	state       TEXT NOT NULL,
	not_before  INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	created_by  TEXT NOT NULL,
	ended_at    INTEGER NOT NULL,
	end_reason  TEXT NOT NULL,
	proofs      TEXT NOT NULL CHECK (proofs <> '' AND proofs <> '[]'),
	version     INTEGER NOT NULL
);
CREATE INDEX credentials_newest ON credentials (org, created_at, id);
CREATE INDEX credentials_principal ON credentials (principal, created_at, id);
CREATE INDEX credentials_expiry ON credentials (org, expires_at) WHERE expires_at <> 0;
CREATE INDEX credentials_project ON credentials (org, project) WHERE project <> '';
CREATE INDEX credentials_ended ON credentials (ended_at, id) WHERE state <> 'active';

CREATE TABLE scopes (
	org         TEXT NOT NULL,
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	rules       TEXT NOT NULL,
	built_in    INTEGER NOT NULL,
	version     INTEGER NOT NULL,
	PRIMARY KEY (org, name)
);

CREATE TABLE roles (
	org         TEXT NOT NULL,
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	scopes      TEXT NOT NULL,
	built_in    INTEGER NOT NULL,
	version     INTEGER NOT NULL,
	PRIMARY KEY (org, name)
);

CREATE TABLE routes (
	prefix     TEXT PRIMARY KEY,
	upstream   TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	version    INTEGER NOT NULL
);

CREATE TABLE keys (
	id         TEXT PRIMARY KEY,
	purpose    TEXT NOT NULL,
	alg        TEXT NOT NULL,
	wrapper    TEXT NOT NULL,
	sealed     BLOB NOT NULL,
	public     BLOB NOT NULL,
	created_at INTEGER NOT NULL,
	retired_at INTEGER NOT NULL
);

CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE serials (
	serial      TEXT PRIMARY KEY,
	made_for    TEXT NOT NULL,
	reserved_at INTEGER NOT NULL,
	credential  TEXT NOT NULL,
	settled_at  INTEGER NOT NULL
);
CREATE INDEX serials_open ON serials (reserved_at) WHERE settled_at = 0;

-- The audit log, which is the change feed. seq is counted by head, without gaps.
CREATE TABLE events (
	seq              INTEGER PRIMARY KEY,
	id               TEXT NOT NULL,
	at               INTEGER NOT NULL,
	org              TEXT NOT NULL,
	type             TEXT NOT NULL,
	subject_kind     TEXT NOT NULL,
	subject_id       TEXT NOT NULL,
	subject_name     TEXT NOT NULL,
	actor_principal  TEXT NOT NULL,
	actor_credential TEXT NOT NULL,
	actor_source     TEXT NOT NULL,
	actor_door       TEXT NOT NULL,
	actor_request    TEXT NOT NULL,
	reason           TEXT NOT NULL,
	detail           TEXT NOT NULL,
	prev             BLOB NOT NULL,
	hash             BLOB NOT NULL
);
CREATE INDEX events_type ON events (org, type, seq);
CREATE INDEX events_subject ON events (subject_id, seq);
CREATE INDEX events_subject_name ON events (subject_name, seq) WHERE subject_name <> '';

CREATE TABLE head (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	seq  INTEGER NOT NULL,
	hash BLOB NOT NULL
);
INSERT INTO head (one, seq, hash) VALUES (1, 0, zeroblob(32));

CREATE TABLE usage (
	credential TEXT NOT NULL,
	proof      INTEGER NOT NULL,
	uses       INTEGER NOT NULL,
	first_at   INTEGER NOT NULL,
	last_at    INTEGER NOT NULL,
	source     TEXT NOT NULL,
	PRIMARY KEY (credential, proof)
) WITHOUT ROWID;

-- Refused requests of one cause in one hour.
CREATE TABLE refusals (
	hour       INTEGER NOT NULL,
	credential TEXT NOT NULL,
	reason     TEXT NOT NULL,
	door       TEXT NOT NULL,
	source     TEXT NOT NULL,
	times      INTEGER NOT NULL,
	first_at   INTEGER NOT NULL,
	last_at    INTEGER NOT NULL,
	PRIMARY KEY (hour, credential, reason, door, source)
) WITHOUT ROWID;
CREATE INDEX refusals_last ON refusals (last_at);

CREATE TABLE replies (
	name       TEXT PRIMARY KEY,
	request    BLOB NOT NULL,
	sealed     BLOB NOT NULL,
	expires_at INTEGER NOT NULL
);
CREATE INDEX replies_expiry ON replies (expires_at);

CREATE TABLE once (
	name       TEXT PRIMARY KEY,
	expires_at INTEGER NOT NULL
);
CREATE INDEX once_expiry ON once (expires_at);
