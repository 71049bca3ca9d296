-- The double-entry ledger: accounts, movements, balances, and the generations that caused them.
-- One movement moves an amount above zero from its debit account to its credit account, and is never changed.

-- The UTC day in which a UUIDv7 was made. Partition days derive from ids, so a key that holds (id, day) is unique
-- over all partitions.
CREATE FUNCTION uuid7_day(id uuid) RETURNS date LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT DATE '1970-01-01' + (('x' || encode(substring(uuid_send(id) FROM 1 FOR 6), 'hex'))::bit(48)::bigint / 86400000)::integer
$$;

-- The id of one of the marketplace's own accounts: derived from its name, so nobody has to look it up.
CREATE FUNCTION platform_account(kind text, provider text) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(substring(sha256(convert_to('farebox:' || kind || ':' || provider, 'UTF8')) FROM 1 FOR 16), 'hex')::uuid
$$;

CREATE TABLE ledger_account (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('customer_credit', 'stripe_clearing', 'fee_revenue', 'inference_revenue',
        'byok_revenue', 'provider_cost', 'provider_payable', 'insurance_cost', 'bad_debt', 'promo_cost',
        'dispute_reserve', 'adjustment')),
    provider text NOT NULL DEFAULT '',
    account_id uuid UNIQUE REFERENCES account,
    CHECK ((kind = 'customer_credit') = (account_id IS NOT NULL)),
    CHECK (kind = 'customer_credit' OR id = platform_account(kind, provider)),
    CHECK (account_id IS NULL OR account_id = id)
);

INSERT INTO ledger_account (id, kind)
SELECT platform_account(kind, ''), kind
FROM unnest(ARRAY['stripe_clearing', 'fee_revenue', 'inference_revenue', 'byok_revenue', 'insurance_cost',
    'bad_debt', 'promo_cost', 'dispute_reserve', 'adjustment']) AS kind;

CREATE TABLE account_state (
    account_id uuid PRIMARY KEY REFERENCES account,
    posted_nano_usd bigint NOT NULL DEFAULT 0
        CHECK (posted_nano_usd BETWEEN -9007199254740991 AND 9007199254740991),
    credit_seq bigint NOT NULL DEFAULT 0 CHECK (credit_seq >= 0),
    debit_seq bigint NOT NULL DEFAULT 0 CHECK (debit_seq >= 0),
    granted_nano_usd bigint NOT NULL DEFAULT 0
        CHECK (granted_nano_usd BETWEEN -9007199254740991 AND 9007199254740991),
    frozen boolean NOT NULL DEFAULT false,
    engine_credit_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX account_state_unsent ON account_state (account_id) WHERE engine_credit_seq < credit_seq;
COMMENT ON COLUMN account_state.posted_nano_usd IS 'Sum of all movements; within 2^53-1 because Redis counts in doubles.';
COMMENT ON COLUMN account_state.credit_seq IS 'Counts every change that Redis must learn; gapless.';
COMMENT ON COLUMN account_state.engine_credit_seq IS 'Up to here the credit engine has acknowledged.';

CREATE TABLE ledger_movement (
    id uuid NOT NULL,
    class text NOT NULL CHECK (class IN ('charge', 'adjust', 'adjust_2', 'adjust_3', 'insurance', 'cost', 'credit',
        'fee', 'promo', 'refund', 'dispute', 'write_off')),
    day date NOT NULL,
    debit uuid NOT NULL,
    credit uuid NOT NULL,
    amount_nano_usd bigint NOT NULL CHECK (amount_nano_usd > 0),
    txn uuid NOT NULL,
    epoch bigint,
    debit_seq bigint,
    credit_seq bigint,
    balance_after_nano_usd bigint,
    booked_at timestamptz NOT NULL,
    PRIMARY KEY (id, class, day),
    CHECK (day = uuid7_day(id)),
    CHECK (debit <> credit)
) PARTITION BY RANGE (day);
COMMENT ON TABLE ledger_movement IS 'No foreign keys: they would lock the few platform accounts thousands of times a batch; the proof of the books looks for strangers instead.';
COMMENT ON COLUMN ledger_movement.id IS 'The generation or purchase that caused it; with class the idempotency key.';
COMMENT ON COLUMN ledger_movement.class IS 'A charge is corrected once (adjust); only a fall-back between two holds of one call needs more.';
COMMENT ON COLUMN ledger_movement.txn IS 'What was booked together.';
CREATE TABLE ledger_movement_default PARTITION OF ledger_movement DEFAULT;

CREATE FUNCTION refuse_movement_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_movement is insert-only: book a correcting movement' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_movement_stays BEFORE UPDATE OR DELETE ON ledger_movement
    FOR EACH ROW EXECUTE FUNCTION refuse_movement_change();
CREATE TRIGGER ledger_movement_is_not_emptied BEFORE TRUNCATE ON ledger_movement
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_movement_change();

CREATE TABLE generation (
    id uuid NOT NULL,
    day date NOT NULL,
    account_id uuid NOT NULL,
    org_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    key_id uuid,
    member_id uuid NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    tariff_id uuid NOT NULL,
    prompt_tokens bigint NOT NULL CHECK (prompt_tokens >= 0),
    completion_tokens bigint NOT NULL CHECK (completion_tokens >= 0),
    usage_source text NOT NULL CHECK (usage_source IN ('exact', 'estimated', 'nothing')),
    own_key boolean NOT NULL,
    list_price_nano_usd bigint NOT NULL CHECK (list_price_nano_usd >= 0),
    amount_nano_usd bigint NOT NULL CHECK (amount_nano_usd >= 0),
    provider_cost_nano_usd bigint NOT NULL CHECK (provider_cost_nano_usd >= 0),
    charge_nano_usd bigint NOT NULL CHECK (charge_nano_usd >= 0),
    uncollected_nano_usd bigint NOT NULL CHECK (uncollected_nano_usd >= 0),
    held_nano_usd bigint NOT NULL CHECK (held_nano_usd >= 0),
    closing smallint NOT NULL CHECK (closing BETWEEN 0 AND 2),
    funding smallint NOT NULL CHECK (funding BETWEEN 0 AND 255),
    postings smallint NOT NULL CHECK (postings BETWEEN 0 AND 4),
    ticket smallint NOT NULL CHECK (ticket BETWEEN 0 AND 2),
    byok_month integer NOT NULL,
    epoch bigint NOT NULL,
    debit_seq bigint NOT NULL,
    booked_at timestamptz NOT NULL,
    record jsonb NOT NULL,
    PRIMARY KEY (id, day),
    CHECK (day = uuid7_day(id))
) PARTITION BY RANGE (day);
CREATE INDEX generation_by_org ON generation (org_id, id DESC);
CREATE TABLE generation_default PARTITION OF generation DEFAULT;
COMMENT ON TABLE generation IS 'One row per completed call. Columns are what is asked for and proved; record is the whole document.';
COMMENT ON COLUMN generation.closing IS '0 release and 1 sweep leave room for what is more final, 2 settle is final.';
COMMENT ON COLUMN generation.funding IS 'Which hold of the call this closed: 0 the customer''s own key, 1 our credential.';
COMMENT ON COLUMN generation.postings IS 'Movements of the charge so far: the first is charge, then adjust, adjust_2, adjust_3.';
COMMENT ON COLUMN generation.ticket IS 'Allowance of own keys: 0 none, 1 free, 2 paid.';

-- Makes the daily partitions of a range of days. Called ahead by a job and on demand by the ingest writer, outside of its
-- transaction. A day whose rows are already in the default partition stays there.
CREATE FUNCTION ensure_partitions(first date, last date) RETURNS integer LANGUAGE plpgsql
SET lock_timeout = '2s' AS $$
DECLARE
    parent text;
    child text;
    this date;
    taken boolean;
    made integer := 0;
BEGIN
    IF last - first > 400 THEN
        RAISE EXCEPTION 'more than 400 days of partitions asked for';
    END IF;
    PERFORM pg_advisory_xact_lock(7309453, 1);
    FOR this IN SELECT generate_series(first, last, interval '1 day')::date LOOP
        FOREACH parent IN ARRAY ARRAY['ledger_movement', 'generation'] LOOP
            child := parent || '_' || to_char(this, 'YYYYMMDD');
            CONTINUE WHEN to_regclass(child) IS NOT NULL;
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE day = $1)', parent || '_default') INTO taken USING this;
            CONTINUE WHEN taken;
            -- Made apart and then attached: that does not lock the parent against readers and writers.
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child, this, this + 1);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

CREATE TABLE credit_outbox (
    account_id uuid NOT NULL REFERENCES account,
    seq bigint NOT NULL CHECK (seq > 0),
    delta_nano_usd bigint NOT NULL,
    is_grant boolean NOT NULL,
    reason text NOT NULL CHECK (reason IN ('purchase', 'promo', 'refund', 'dispute', 'correction')),
    ref uuid NOT NULL,
    cap_changes jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, seq)
);
CREATE UNIQUE INDEX credit_outbox_purchase_once ON credit_outbox (ref) WHERE reason = 'purchase';
COMMENT ON TABLE credit_outbox IS 'What was born in PostgreSQL and Redis must learn. Rows are kept after acknowledgement.';
COMMENT ON COLUMN credit_outbox.cap_changes IS 'For corrections: [{cap, window, used}], the change of use that belongs to the delta.';
