-- Buying credits, what it costs, and the payment provider's events.
-- Fee rules are rows with dates; the arithmetic is in the program.

CREATE TABLE fee_rule (
    kind text NOT NULL CHECK (kind IN ('purchase', 'byok')),
    valid_from timestamptz NOT NULL,
    rule jsonb NOT NULL,
    PRIMARY KEY (kind, valid_from)
);
INSERT INTO fee_rule (kind, valid_from, rule) VALUES
    ('purchase', '1970-01-01T00:00:00Z',
     '{"rate_per_mille": 55, "minimum": 80, "smallest_purchase": 500, "largest_purchase": 2500000}'),
    ('byok', '1970-01-01T00:00:00Z', '{"allowance": {"requests": 1000000}, "basis_points": 500}');
COMMENT ON COLUMN fee_rule.rule IS 'Purchase: amounts in cents. Own keys: {"requests": n} or {"list_price": nano-dollars} a month, then basis points.';

CREATE TABLE purchase (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES organization,
    member_id uuid NOT NULL REFERENCES member,
    account_id uuid NOT NULL REFERENCES account,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    fee_cents bigint NOT NULL CHECK (fee_cents >= 0),
    state text NOT NULL CHECK (state IN ('open', 'failed', 'expired', 'granted')),
    session text UNIQUE,
    checkout_url text,
    payment text UNIQUE,
    created_at timestamptz NOT NULL,
    granted_at timestamptz,
    CHECK ((state = 'granted') = (granted_at IS NOT NULL)),
    CHECK ((state = 'granted') = (payment IS NOT NULL))
);
CREATE INDEX purchase_by_org ON purchase (org_id, id DESC);
CREATE INDEX purchase_open ON purchase (created_at) WHERE state = 'open';

CREATE TABLE payment_event (
    id text PRIMARY KEY,
    kind text NOT NULL,
    received_at timestamptz NOT NULL
);
COMMENT ON TABLE payment_event IS 'Only saves work: what grants is the purchase, not the event.';
