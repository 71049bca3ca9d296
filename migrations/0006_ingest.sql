-- How settlements come from Redis: epochs, cursors, the one writer's lease, and the sums kept beside the movements.
-- Everything here is written in the transaction that books the movements.

CREATE TABLE shard_epoch (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
    epoch bigint NOT NULL CHECK (epoch > 0),
    authority text NOT NULL CHECK (authority IN ('redis', 'sealed', 'pg')),
    redis_run_id text NOT NULL,
    opened_at timestamptz NOT NULL
);
COMMENT ON TABLE shard_epoch IS 'The only birthplace of epochs; an epoch names one life of one Redis process.';

CREATE TABLE ingest_cursor (
    shard smallint PRIMARY KEY REFERENCES shard_epoch,
    stream_ms bigint NOT NULL CHECK (stream_ms >= 0),
    stream_seq bigint NOT NULL CHECK (stream_seq >= 0)
);
COMMENT ON TABLE ingest_cursor IS 'The stream id up to which the shard is booked in its current epoch; 0-0 at its start.';

CREATE TABLE ingest_lease (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    owner text NOT NULL,
    token bigint NOT NULL,
    until timestamptz NOT NULL
);
INSERT INTO ingest_lease (owner, token, until) VALUES ('', 0, '-infinity');
COMMENT ON COLUMN ingest_lease.token IS 'Rises when another writer takes over and when any epoch is opened: a batch read before is refused.';

CREATE TABLE cap_usage (
    account_id uuid NOT NULL REFERENCES account,
    cap_id text NOT NULL,
    window_id bigint NOT NULL,
    used_nano_usd bigint NOT NULL,
    PRIMARY KEY (account_id, cap_id, window_id)
) WITH (fillfactor = 70);

CREATE TABLE byok_usage (
    account_id uuid NOT NULL REFERENCES account,
    month integer NOT NULL,
    requests bigint NOT NULL,
    list_price_nano_usd bigint NOT NULL,
    PRIMARY KEY (account_id, month)
);
COMMENT ON COLUMN byok_usage.month IS 'Year * 12 + month - 1.';

CREATE TABLE usage_daily (
    org_id uuid NOT NULL,
    day date NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    key_id uuid NOT NULL,
    member_id uuid NOT NULL,
    requests bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    charge_nano_usd bigint NOT NULL,
    byok_list_price_nano_usd bigint NOT NULL,
    provider_cost_nano_usd bigint NOT NULL,
    PRIMARY KEY (org_id, day, model, provider, key_id, member_id)
) WITH (fillfactor = 70);
CREATE INDEX usage_daily_by_key ON usage_daily (key_id, day);
COMMENT ON COLUMN usage_daily.key_id IS 'The nil UUID for the browser''s own calls.';

CREATE TABLE ledger_divergence (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    found_at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('balance', 'debit_gap', 'second_final', 'refused', 'record')),
    account_id uuid NOT NULL,
    generation_id uuid NOT NULL,
    shard smallint NOT NULL,
    epoch bigint NOT NULL,
    debit_seq bigint NOT NULL,
    expected_nano_usd bigint NOT NULL,
    found_nano_usd bigint NOT NULL,
    resolved_at timestamptz
);
CREATE INDEX ledger_divergence_open ON ledger_divergence (id) WHERE resolved_at IS NULL;
COMMENT ON TABLE ledger_divergence IS 'What a person must look at. Money was booked all the same.';
