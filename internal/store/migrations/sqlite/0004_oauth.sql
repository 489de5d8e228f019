-- OAuth clients, APIs, access tokens that were revoked, keys that sign them, and issuers that are trusted.

CREATE TABLE apis (
	org           TEXT NOT NULL,
	name          TEXT NOT NULL,
	audience      TEXT NOT NULL,
	description   TEXT NOT NULL,
	scopes        TEXT NOT NULL,
	token_life    INTEGER NOT NULL,
	alg           TEXT NOT NULL,
	introspectors TEXT NOT NULL,
	created_at    INTEGER NOT NULL,
	version       INTEGER NOT NULL,
	PRIMARY KEY (org, name)
);
CREATE UNIQUE INDEX apis_audience ON apis (org, audience);

CREATE TABLE denied_tokens (
	id         TEXT NOT NULL,
	org        TEXT NOT NULL,
	credential TEXT NOT NULL,
	at         INTEGER NOT NULL,
	until      INTEGER NOT NULL,
	PRIMARY KEY (id, org)
) WITHOUT ROWID;
CREATE INDEX denied_tokens_until ON denied_tokens (until);

ALTER TABLE keys ADD COLUMN active_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN revoked_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE authenticators ADD COLUMN issuer TEXT NOT NULL DEFAULT '';
