-- API keys with their spending limits (caps), and the customers' own keys at providers.
-- Stored of an API key is only its keyed digest; a provider key is sealed before it comes here.

CREATE TABLE api_key (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES organization,
    workspace_id uuid NOT NULL REFERENCES workspace,
    creator_id uuid NOT NULL REFERENCES member,
    kind text NOT NULL CHECK (kind IN ('model', 'management')),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    pepper_version smallint NOT NULL,
    hash char(64) NOT NULL UNIQUE CHECK (hash ~ '^[0-9a-f]{64}$'),
    name text NOT NULL,
    label text NOT NULL,
    limit_nano_usd bigint CHECK (limit_nano_usd BETWEEN 0 AND 9007199254740991),
    limit_reset text CHECK (limit_reset IN ('daily', 'weekly', 'monthly')),
    include_byok_in_limit boolean NOT NULL,
    disabled boolean NOT NULL DEFAULT false,
    expires_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz,
    deleted_at timestamptz,
    UNIQUE (digest, pepper_version)
);
CREATE INDEX api_key_by_org ON api_key (org_id, id DESC) WHERE deleted_at IS NULL;
COMMENT ON COLUMN api_key.hash IS 'The public handle, drawn at creation; says nothing about the secret.';
COMMENT ON COLUMN api_key.deleted_at IS 'A deleted key stops working but keeps its row, because generations name it.';

-- Beside api_key, so that a busy key does not rewrite its row.
CREATE TABLE api_key_use (
    key_id uuid PRIMARY KEY,
    last_used_at timestamptz NOT NULL
);

CREATE TABLE cap (
    account_id uuid NOT NULL REFERENCES account,
    cap_id text NOT NULL CHECK (length(cap_id) BETWEEN 3 AND 64),
    owner_id uuid NOT NULL,
    limit_nano_usd bigint NOT NULL CHECK (limit_nano_usd BETWEEN 0 AND 9007199254740991),
    period text NOT NULL CHECK (period IN ('n', 'd', 'w', 'm')),
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, cap_id)
);
CREATE INDEX cap_by_owner ON cap (owner_id);
COMMENT ON TABLE cap IS 'Spending limits; cap_id is k:, m:, w:, o: or g: and the id of the key, member, workspace, org or guardrail.';
COMMENT ON COLUMN cap.period IS 'n never starts anew, d UTC day, w week from Monday, m calendar month.';

CREATE TABLE provider_key (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES organization,
    provider text NOT NULL,
    name text NOT NULL,
    hint text NOT NULL CHECK (length(hint) <= 8),
    sealed bytea NOT NULL,
    fallback boolean NOT NULL,
    disabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);
CREATE INDEX provider_key_by_org ON provider_key (org_id, id);
