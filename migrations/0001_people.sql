-- Who there is: people, their organizations with one credit account each, members, workspaces, browser sessions.
-- Everything a customer owns hangs on organization; sign-up makes all of it in one transaction.

CREATE TABLE person (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    created_at timestamptz NOT NULL
);

CREATE TABLE person_credential (
    person_id uuid PRIMARY KEY REFERENCES person ON DELETE CASCADE,
    password_hash text NOT NULL,
    changed_at timestamptz NOT NULL
);

CREATE TABLE organization (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    personal boolean NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE account (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL UNIQUE REFERENCES organization,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    created_at timestamptz NOT NULL
);
CREATE INDEX account_by_shard ON account (shard, id);
COMMENT ON COLUMN account.shard IS 'Ledger shard, fixed at sign-up; all Redis keys of the account share its hash slot.';

CREATE TABLE member (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES organization,
    person_id uuid NOT NULL REFERENCES person,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'billing', 'developer', 'viewer')),
    joined_at timestamptz NOT NULL,
    UNIQUE (org_id, person_id)
);
CREATE INDEX member_by_person ON member (person_id);

CREATE TABLE workspace (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES organization,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    is_default boolean NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX workspace_one_default ON workspace (org_id) WHERE is_default;
CREATE INDEX workspace_by_org ON workspace (org_id);

CREATE TABLE session (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    person_id uuid NOT NULL REFERENCES person ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX session_by_person ON session (person_id);
CREATE INDEX session_by_expiry ON session (expires_at);
COMMENT ON COLUMN session.digest IS 'SHA-256 of the cookie''s token; the token itself is stored nowhere.';
