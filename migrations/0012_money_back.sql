-- Money that goes back: refunds, disputes, frozen accounts, and the letters that tell of them.

ALTER TABLE purchase
    ADD COLUMN kind text NOT NULL DEFAULT 'checkout' CHECK (kind IN ('checkout', 'top_up')),
    ADD COLUMN refunded_cents bigint NOT NULL DEFAULT 0 CHECK (refunded_cents >= 0),
    ADD COLUMN disputed_cents bigint NOT NULL DEFAULT 0 CHECK (disputed_cents >= 0),
    ADD COLUMN checked_at timestamptz,
    ADD CONSTRAINT purchase_taken_back_at_most_paid
        CHECK (refunded_cents <= amount_cents AND refunded_cents + disputed_cents <= amount_cents + fee_cents),
    ADD CONSTRAINT purchase_taken_back_only_when_granted
        CHECK (state = 'granted' OR refunded_cents + disputed_cents = 0);
COMMENT ON COLUMN purchase.refunded_cents IS 'Debited for refunds in progress or done.';
COMMENT ON COLUMN purchase.disputed_cents IS 'Debited for disputes undecided or lost.';
COMMENT ON COLUMN purchase.checked_at IS 'When the poller last asked the payment provider about it.';

CREATE TABLE refund (
    id uuid PRIMARY KEY,
    purchase_id uuid NOT NULL REFERENCES purchase,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    state text NOT NULL CHECK (state IN ('waiting', 'rejected', 'debited', 'done', 'reversed')),
    member_id uuid REFERENCES member,
    staff text,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    decided_by text,
    provider_id text UNIQUE,
    reversal_id uuid UNIQUE,
    failure text,
    created_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    CHECK ((member_id IS NULL) <> (staff IS NULL)),
    CHECK (decided_by IS NULL OR decided_by <> staff),
    CHECK (staff IS NULL OR amount_cents <= 10000 OR state IN ('waiting', 'rejected') OR decided_by IS NOT NULL),
    CHECK ((state = 'reversed') = (reversal_id IS NOT NULL)),
    CHECK (state <> 'done' OR provider_id IS NOT NULL)
);
CREATE UNIQUE INDEX refund_one_in_progress ON refund (purchase_id) WHERE state IN ('waiting', 'debited');
CREATE INDEX refund_by_purchase ON refund (purchase_id, id);
CREATE INDEX refund_to_finish ON refund (touched_at) WHERE state = 'debited';
COMMENT ON COLUMN refund.decided_by IS 'The second member of staff: above 10000 cents a refund of staff needs one.';
COMMENT ON COLUMN refund.reversal_id IS 'Id of the movement that gave the money back to the customer.';

CREATE TABLE dispute (
    id uuid PRIMARY KEY,
    provider_id text NOT NULL UNIQUE,
    purchase_id uuid NOT NULL REFERENCES purchase,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    state text NOT NULL CHECK (state IN ('inquiry', 'closed', 'open', 'won', 'lost')),
    reason text NOT NULL,
    return_id uuid UNIQUE,
    written_off_nano_usd bigint NOT NULL DEFAULT 0 CHECK (written_off_nano_usd >= 0),
    released_at timestamptz,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    checked_at timestamptz NOT NULL,
    CHECK ((state = 'won') = (return_id IS NOT NULL)),
    CHECK (state = 'lost' OR written_off_nano_usd = 0)
);
CREATE INDEX dispute_by_purchase ON dispute (purchase_id);
CREATE INDEX dispute_undecided ON dispute (checked_at) WHERE state IN ('inquiry', 'open');
COMMENT ON COLUMN dispute.return_id IS 'Id of the movement that gave the money of a won dispute back.';
COMMENT ON COLUMN dispute.released_at IS 'Staff let the organization go on after a lost dispute.';

ALTER TABLE account_state ADD COLUMN engine_frozen boolean NOT NULL DEFAULT false;
CREATE INDEX account_state_freeze_unsent ON account_state (account_id) WHERE frozen <> engine_frozen;
COMMENT ON COLUMN account_state.engine_frozen IS 'What the credit engine was last told.';

CREATE TABLE mail_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES organization,
    recipient text NOT NULL,
    kind text NOT NULL,
    ref uuid NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    UNIQUE (kind, ref, recipient)
);
CREATE INDEX mail_outbox_unsent ON mail_outbox (id) WHERE sent_at IS NULL;
COMMENT ON TABLE mail_outbox IS 'Letters, written in the transaction of what they tell of.';
