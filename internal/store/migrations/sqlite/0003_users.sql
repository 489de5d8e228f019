-- Users, organisations, projects, policies of kinds, imported tokens, limits, webhooks and imports.

CREATE TABLE orgs (
	name        TEXT PRIMARY KEY,
	description TEXT NOT NULL,
	resources   TEXT NOT NULL,
	disabled    INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	version     INTEGER NOT NULL
);

CREATE TABLE projects (
	org         TEXT NOT NULL,
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	resources   TEXT NOT NULL,
	created_at  INTEGER NOT NULL,
	version     INTEGER NOT NULL,
	PRIMARY KEY (org, name)
);

-- What an organisation demands of a kind of credentials; rules is JSON.
CREATE TABLE kind_policies (
	org     TEXT NOT NULL,
	kind    TEXT NOT NULL,
	rules   TEXT NOT NULL,
	version INTEGER NOT NULL,
	PRIMARY KEY (org, kind)
);

CREATE TABLE token_formats (
	org        TEXT NOT NULL,
	name       TEXT NOT NULL,
	scheme     TEXT NOT NULL,
	prefix     TEXT NOT NULL,
	id_len     INTEGER NOT NULL,
	separator  TEXT NOT NULL,
	bits       INTEGER NOT NULL,
	sealed     BLOB NOT NULL,
	created_at INTEGER NOT NULL,
	version    INTEGER NOT NULL,
	PRIMARY KEY (org, name)
);

-- What imported tokens are found by, in hex.
CREATE TABLE lookups (
	lookup     TEXT PRIMARY KEY,
	credential TEXT NOT NULL,
	org        TEXT NOT NULL,
	format     TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE webhooks (
	id          TEXT PRIMARY KEY,
	org         TEXT NOT NULL,
	url         TEXT NOT NULL,
	description TEXT NOT NULL,
	types       TEXT NOT NULL,
	enabled     INTEGER NOT NULL,
	trouble     TEXT NOT NULL,
	sealed      BLOB NOT NULL,
	created_at  INTEGER NOT NULL,
	version     INTEGER NOT NULL
);

CREATE TABLE deliveries (
	webhook    TEXT NOT NULL,
	seq        INTEGER NOT NULL,
	state      TEXT NOT NULL,
	attempts   INTEGER NOT NULL,
	next_at    INTEGER NOT NULL,
	trouble    TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	done_at    INTEGER NOT NULL,
	PRIMARY KEY (webhook, seq)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_done ON deliveries (done_at) WHERE done_at <> 0;

CREATE TABLE avatars (
	credential TEXT PRIMARY KEY,
	png        BLOB NOT NULL
);

CREATE TABLE imports (
	id          TEXT PRIMARY KEY,
	org         TEXT NOT NULL,
	name        TEXT NOT NULL,
	digest      TEXT NOT NULL,
	total       INTEGER NOT NULL,
	done        INTEGER NOT NULL,
	created     INTEGER NOT NULL,
	unchanged   INTEGER NOT NULL,
	failed      INTEGER NOT NULL,
	started_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL,
	finished_at INTEGER NOT NULL,
	made_by     TEXT NOT NULL
);
CREATE INDEX imports_digest ON imports (org, digest);

-- Uses of a credential on a day (in days since 1970) by address and by route.
CREATE TABLE usage_slices (
	credential TEXT NOT NULL,
	day        INTEGER NOT NULL,
	by_what    TEXT NOT NULL,
	value      TEXT NOT NULL,
	uses       INTEGER NOT NULL,
	PRIMARY KEY (credential, day, by_what, value)
) WITHOUT ROWID;
CREATE INDEX usage_slices_day ON usage_slices (day);

CREATE TABLE exercised (
	credential TEXT NOT NULL,
	scope      TEXT NOT NULL,
	last_at    INTEGER NOT NULL,
	PRIMARY KEY (credential, scope)
) WITHOUT ROWID;

CREATE TABLE sightings (
	credential TEXT NOT NULL,
	by_what    TEXT NOT NULL,
	value      TEXT NOT NULL,
	first_at   INTEGER NOT NULL,
	last_at    INTEGER NOT NULL,
	PRIMARY KEY (credential, by_what, value)
) WITHOUT ROWID;
CREATE INDEX sightings_first ON sightings (first_at);
CREATE INDEX usage_first ON usage (first_at);

-- Uses of credentials with limits; month is in months since 1970.
CREATE TABLE meters (
	credential TEXT NOT NULL,
	node       TEXT NOT NULL,
	month      INTEGER NOT NULL,
	used       INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	PRIMARY KEY (credential, node, month)
) WITHOUT ROWID;
CREATE INDEX meters_month ON meters (month);

ALTER TABLE routes ADD COLUMN query_key INTEGER NOT NULL DEFAULT 0;

ALTER TABLE credentials ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN resources TEXT NOT NULL DEFAULT '[]';
ALTER TABLE credentials ADD COLUMN parent TEXT NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN parent_proof INTEGER NOT NULL DEFAULT 0;
ALTER TABLE credentials ADD COLUMN more TEXT NOT NULL DEFAULT '{}';
CREATE INDEX credentials_owner ON credentials (owner, created_at, id) WHERE owner <> '';
CREATE INDEX credentials_pending ON credentials (org, created_at, id) WHERE state = 'pending';
CREATE INDEX credentials_parent ON credentials (parent) WHERE parent <> '';
DROP INDEX credentials_username;
CREATE UNIQUE INDEX credentials_username ON credentials (org, kind, username) WHERE username <> '' AND state IN ('active', 'quarantined', 'pending');
DROP INDEX authenticators_local;
CREATE UNIQUE INDEX authenticators_local ON authenticators (org, listener, type) WHERE type IN ('token', 'certificate', 'scram', 'password');
