-- OAuth clients, APIs, access tokens that were revoked, keys that sign them, and issuers that are trusted.

CREATE TABLE apis (
	org           TEXT COLLATE "C" NOT NULL,
	name          TEXT COLLATE "C" NOT NULL,
	audience      TEXT COLLATE "C" NOT NULL,
	description   TEXT COLLATE "C" NOT NULL,
	scopes        TEXT COLLATE "C" NOT NULL,
	token_life    BIGINT NOT NULL,
	alg           TEXT COLLATE "C" NOT NULL,
	introspectors TEXT COLLATE "C" NOT NULL,
	created_at    BIGINT NOT NULL,
	version       BIGINT NOT NULL,
	PRIMARY KEY (org, name)
);
CREATE UNIQUE INDEX apis_audience ON apis (org, audience);

CREATE TABLE denied_tokens (
	id         TEXT COLLATE "C" NOT NULL,
	org        TEXT COLLATE "C" NOT NULL,
	credential TEXT COLLATE "C" NOT NULL,
	at         BIGINT NOT NULL,
	until      BIGINT NOT NULL,
	PRIMARY KEY (id, org)
);
CREATE INDEX denied_tokens_until ON denied_tokens (until);

ALTER TABLE keys ADD COLUMN active_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN revoked_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE authenticators ADD COLUMN issuer TEXT COLLATE "C" NOT NULL DEFAULT '';
