-- Times are microseconds since 1970 UTC, 0 for none. Lists and maps are JSON.
-- Rows of principals, credentials and serials stay for ever: their ids are never given out again.

CREATE TABLE principals (
	id          TEXT COLLATE "C" PRIMARY KEY,
	org         TEXT COLLATE "C" NOT NULL,
	kind        TEXT COLLATE "C" NOT NULL,
	name        TEXT COLLATE "C" NOT NULL,
	description TEXT COLLATE "C" NOT NULL,
	roles       TEXT COLLATE "C" NOT NULL,
	attrs       TEXT COLLATE "C" NOT NULL,
	disabled    BIGINT NOT NULL,
	created_at  BIGINT NOT NULL,
	deleted_at  BIGINT NOT NULL,
	version     BIGINT NOT NULL
);
CREATE UNIQUE INDEX principals_name ON principals (org, name) WHERE deleted_at = 0;

CREATE TABLE credentials (
	id          TEXT COLLATE "C" PRIMARY KEY,
	org         TEXT COLLATE "C" NOT NULL,
	kind        TEXT COLLATE "C" NOT NULL,
	principal   TEXT COLLATE "C" NOT NULL REFERENCES principals (id),
	name        TEXT COLLATE "C" NOT NULL,
	description TEXT COLLATE "C" NOT NULL,
	scopes      TEXT COLLATE "C" NOT NULL,
	networks    TEXT COLLATE "C" NOT NULL,
	tags        TEXT COLLATE "C" NOT NULL,
	project     TEXT COLLATE "C" NOT NULL,
	state       TEXT COLLATE "C" NOT NULL,
	not_before  BIGINT NOT NULL,
	expires_at  BIGINT NOT NULL,
	created_at  BIGINT NOT NULL,
	created_by  TEXT COLLATE "C" NOT NULL,
	ended_at    BIGINT NOT NULL,
	end_reason  TEXT COLLATE "C" NOT NULL,
	proofs      TEXT COLLATE "C" NOT NULL CHECK (proofs <> '' AND proofs <> '[]'),
	version     BIGINT NOT NULL
);
CREATE INDEX credentials_newest ON credentials (org, created_at, id);
CREATE INDEX credentials_principal ON credentials (principal, created_at, id);
CREATE INDEX credentials_expiry ON credentials (org, expires_at) WHERE expires_at <> 0;
CREATE INDEX credentials_project ON credentials (org, project) WHERE project <> '';
CREATE INDEX credentials_ended ON credentials (ended_at, id) WHERE state <> 'active';

CREATE TABLE scopes (
	org         TEXT COLLATE "C" NOT NULL,
	name        TEXT COLLATE "C" NOT NULL,
	description TEXT COLLATE "C" NOT NULL,
	rules       TEXT COLLATE "C" NOT NULL,
	built_in    BIGINT NOT NULL,
	version     BIGINT NOT NULL,
	PRIMARY KEY (org, name)
);

CREATE TABLE roles (
	org         TEXT COLLATE "C" NOT NULL,
	name        TEXT COLLATE "C" NOT NULL,
	description TEXT COLLATE "C" NOT NULL,
	scopes      TEXT COLLATE "C" NOT NULL,
	built_in    BIGINT NOT NULL,
	version     BIGINT NOT NULL,
	PRIMARY KEY (org, name)
);

CREATE TABLE routes (
	prefix     TEXT COLLATE "C" PRIMARY KEY,
	upstream   TEXT COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	version    BIGINT NOT NULL
);

CREATE TABLE keys (
	id         TEXT COLLATE "C" PRIMARY KEY,
	purpose    TEXT COLLATE "C" NOT NULL,
	alg        TEXT COLLATE "C" NOT NULL,
	wrapper    TEXT COLLATE "C" NOT NULL,
	sealed     BYTEA NOT NULL,
	public     BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	retired_at BIGINT NOT NULL
);

CREATE TABLE settings (
	name  TEXT COLLATE "C" PRIMARY KEY,
	value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE serials (
	serial      TEXT COLLATE "C" PRIMARY KEY,
	made_for    TEXT COLLATE "C" NOT NULL,
	reserved_at BIGINT NOT NULL,
	credential  TEXT COLLATE "C" NOT NULL,
	settled_at  BIGINT NOT NULL
);
CREATE INDEX serials_open ON serials (reserved_at) WHERE settled_at = 0;

-- The audit log, which is the change feed. seq is counted by head, without gaps.
CREATE TABLE events (
	seq              BIGINT PRIMARY KEY,
	id               TEXT COLLATE "C" NOT NULL,
	at               BIGINT NOT NULL,
	org              TEXT COLLATE "C" NOT NULL,
	type             TEXT COLLATE "C" NOT NULL,
	subject_kind     TEXT COLLATE "C" NOT NULL,
	subject_id       TEXT COLLATE "C" NOT NULL,
	subject_name     TEXT COLLATE "C" NOT NULL,
	actor_principal  TEXT COLLATE "C" NOT NULL,
	actor_credential TEXT COLLATE "C" NOT NULL,
	actor_source     TEXT COLLATE "C" NOT NULL,
	actor_door       TEXT COLLATE "C" NOT NULL,
	actor_request    TEXT COLLATE "C" NOT NULL,
	reason           TEXT COLLATE "C" NOT NULL,
	detail           TEXT COLLATE "C" NOT NULL,
	prev             BYTEA NOT NULL,
	hash             BYTEA NOT NULL
);
CREATE INDEX events_type ON events (org, type, seq);
CREATE INDEX events_subject ON events (subject_id, seq);
CREATE INDEX events_subject_name ON events (subject_name, seq) WHERE subject_name <> '';

CREATE TABLE head (
	one  BIGINT PRIMARY KEY CHECK (one = 1),
	seq  BIGINT NOT NULL,
	hash BYTEA NOT NULL
);
INSERT INTO head (one, seq, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));

CREATE TABLE usage (
	credential TEXT COLLATE "C" NOT NULL,
	proof      BIGINT NOT NULL,
	uses       BIGINT NOT NULL,
	first_at   BIGINT NOT NULL,
	last_at    BIGINT NOT NULL,
	source     TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (credential, proof)
);

-- Refused requests of one cause in one hour.
CREATE TABLE refusals (
	hour       BIGINT NOT NULL,
	credential TEXT COLLATE "C" NOT NULL,
	reason     TEXT COLLATE "C" NOT NULL,
	door       TEXT COLLATE "C" NOT NULL,
	source     TEXT COLLATE "C" NOT NULL,
	times      BIGINT NOT NULL,
	first_at   BIGINT NOT NULL,
	last_at    BIGINT NOT NULL,
	PRIMARY KEY (hour, credential, reason, door, source)
);
CREATE INDEX refusals_last ON refusals (last_at);

CREATE TABLE replies (
	name       TEXT COLLATE "C" PRIMARY KEY,
	request    BYTEA NOT NULL,
	sealed     BYTEA NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX replies_expiry ON replies (expires_at);

CREATE TABLE once (
	name       TEXT COLLATE "C" PRIMARY KEY,
	expires_at BIGINT NOT NULL
);
CREATE INDEX once_expiry ON once (expires_at);
