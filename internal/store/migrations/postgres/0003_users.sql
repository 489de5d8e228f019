-- Users, organisations, projects, policies of kinds, imported tokens, limits, webhooks and imports.

CREATE TABLE orgs (
	name        TEXT COLLATE "C" PRIMARY KEY,
	description TEXT COLLATE "C" NOT NULL,
	resources   TEXT COLLATE "C" NOT NULL,
	disabled    BIGINT NOT NULL,
	created_at  BIGINT NOT NULL,
	version     BIGINT NOT NULL
);

CREATE TABLE projects (
	org         TEXT COLLATE "C" NOT NULL,
	name        TEXT COLLATE "C" NOT NULL,
	description TEXT COLLATE "C" NOT NULL,
	resources   TEXT COLLATE "C" NOT NULL,
	created_at  BIGINT NOT NULL,
	version     BIGINT NOT NULL,
	PRIMARY KEY (org, name)
);

-- What an organisation demands of a kind of credentials; rules is JSON.
CREATE TABLE kind_policies (
	org     TEXT COLLATE "C" NOT NULL,
	kind    TEXT COLLATE "C" NOT NULL,
	rules   TEXT COLLATE "C" NOT NULL,
	version BIGINT NOT NULL,
	PRIMARY KEY (org, kind)
);

CREATE TABLE token_formats (
	org        TEXT COLLATE "C" NOT NULL,
	name       TEXT COLLATE "C" NOT NULL,
	scheme     TEXT COLLATE "C" NOT NULL,
	prefix     TEXT COLLATE "C" NOT NULL,
	id_len     BIGINT NOT NULL,
	separator  TEXT COLLATE "C" NOT NULL,
	bits       BIGINT NOT NULL,
	sealed     BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	version    BIGINT NOT NULL,
	PRIMARY KEY (org, name)
);

-- What imported tokens are found by, in hex.
CREATE TABLE lookups (
	lookup     TEXT COLLATE "C" PRIMARY KEY,
	credential TEXT COLLATE "C" NOT NULL,
	org        TEXT COLLATE "C" NOT NULL,
	format     TEXT COLLATE "C" NOT NULL
);

CREATE TABLE webhooks (
	id          TEXT COLLATE "C" PRIMARY KEY,
	org         TEXT COLLATE "C" NOT NULL,
	url         TEXT COLLATE "C" NOT NULL,
	description TEXT COLLATE "C" NOT NULL,
	types       TEXT COLLATE "C" NOT NULL,
	enabled     BIGINT NOT NULL,
	trouble     TEXT COLLATE "C" NOT NULL,
	sealed      BYTEA NOT NULL,
	created_at  BIGINT NOT NULL,
	version     BIGINT NOT NULL
);

CREATE TABLE deliveries (
	webhook    TEXT COLLATE "C" NOT NULL,
	seq        BIGINT NOT NULL,
	state      TEXT COLLATE "C" NOT NULL,
	attempts   BIGINT NOT NULL,
	next_at    BIGINT NOT NULL,
	trouble    TEXT COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	done_at    BIGINT NOT NULL,
	PRIMARY KEY (webhook, seq)
);
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_done ON deliveries (done_at) WHERE done_at <> 0;

CREATE TABLE avatars (
	credential TEXT COLLATE "C" PRIMARY KEY,
	png        BYTEA NOT NULL
);

CREATE TABLE imports (
	id          TEXT COLLATE "C" PRIMARY KEY,
	org         TEXT COLLATE "C" NOT NULL,
	name        TEXT COLLATE "C" NOT NULL,
	digest      TEXT COLLATE "C" NOT NULL,
	total       BIGINT NOT NULL,
	done        BIGINT NOT NULL,
	created     BIGINT NOT NULL,
	unchanged   BIGINT NOT NULL,
	failed      BIGINT NOT NULL,
	started_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	finished_at BIGINT NOT NULL,
	made_by     TEXT COLLATE "C" NOT NULL
);
CREATE INDEX imports_digest ON imports (org, digest);

-- Uses of a credential on a day (in days since 1970) by address and by route.
CREATE TABLE usage_slices (
	credential TEXT COLLATE "C" NOT NULL,
	day        BIGINT NOT NULL,
	by_what    TEXT COLLATE "C" NOT NULL,
	value      TEXT COLLATE "C" NOT NULL,
	uses       BIGINT NOT NULL,
	PRIMARY KEY (credential, day, by_what, value)
);
CREATE INDEX usage_slices_day ON usage_slices (day);

CREATE TABLE exercised (
	credential TEXT COLLATE "C" NOT NULL,
	scope      TEXT COLLATE "C" NOT NULL,
	last_at    BIGINT NOT NULL,
	PRIMARY KEY (credential, scope)
);

CREATE TABLE sightings (
	credential TEXT COLLATE "C" NOT NULL,
	by_what    TEXT COLLATE "C" NOT NULL,
	value      TEXT COLLATE "C" NOT NULL,
	first_at   BIGINT NOT NULL,
	last_at    BIGINT NOT NULL,
	PRIMARY KEY (credential, by_what, value)
);
CREATE INDEX sightings_first ON sightings (first_at);
CREATE INDEX usage_first ON usage (first_at);

-- Uses of credentials with limits; month is in months since 1970.
CREATE TABLE meters (
	credential TEXT COLLATE "C" NOT NULL,
	node       TEXT COLLATE "C" NOT NULL,
	month      BIGINT NOT NULL,
	used       BIGINT NOT NULL,
	at         BIGINT NOT NULL,
	PRIMARY KEY (credential, node, month)
);
CREATE INDEX meters_month ON meters (month);

ALTER TABLE routes ADD COLUMN query_key BIGINT NOT NULL DEFAULT 0;

ALTER TABLE credentials ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN resources TEXT COLLATE "C" NOT NULL DEFAULT '[]';
ALTER TABLE credentials ADD COLUMN parent TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN parent_proof BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credentials ADD COLUMN more TEXT COLLATE "C" NOT NULL DEFAULT '{}';
CREATE INDEX credentials_owner ON credentials (owner, created_at, id) WHERE owner <> '';
CREATE INDEX credentials_pending ON credentials (org, created_at, id) WHERE state = 'pending';
CREATE INDEX credentials_parent ON credentials (parent) WHERE parent <> '';
DROP INDEX credentials_username;
CREATE UNIQUE INDEX credentials_username ON credentials (org, kind, username) WHERE username <> '' AND state IN ('active', 'quarantined', 'pending');
DROP INDEX authenticators_local;
CREATE UNIQUE INDEX authenticators_local ON authenticators (org, listener, type) WHERE type IN ('token', 'certificate', 'scram', 'password');
