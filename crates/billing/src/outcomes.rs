//! What is charged in which case: the one table that the gateway decides by, that the public page and
//! `docs/money.md` print, and of which every row names the tests that hold it.
//!
//! Computes no amount: `price` does, and the credit engine decides what of it is covered.

/// Every way in which a call can end, as far as its charge is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Case {
    Refused,
    Complete,
    CacheHit,
    UsageMissing,
    AboveHold,
    AbsurdUsage,
    InconsistentUsage,
    OwnKeyAllowance,
    OwnKeyFee,
    FailedAttempts,
    FailedAnswer,
    EmptyAnswer,
    SilentFinish,
    LeftWhereBillingStops,
    LeftAfterLastWord,
    LeftWhereBillingGoesOn,
    LeftHiddenTokens,
    LeftBeforeWholeAnswer,
    TakesNothing,
    SlowClient,
    Crash,
    LateSettlement,
    PriceChange,
}

/// Whose count a charge is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The provider's own count.
    Provider,
    /// Our count, never charged above what was set aside.
    Own,
    /// Nothing is charged.
    Nothing,
}

/// One published row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub case: Case,
    pub what: &'static str,
    pub counted: &'static str,
    pub charge: &'static str,
    pub basis: Basis,
    /// Tests that hold the row, as `path::name` from the root of the repository.
    pub tests: &'static [&'static str],
}

impl Case {
    /// Whose count it is charged by.
    #[must_use]
    pub fn basis(self) -> Basis {
        // Every case has its row; a test sees to it.
        ROWS.iter().find(|row| row.case == self).map_or(Basis::Nothing, |row| row.basis)
    }
}

const ABORTS_CUT: &str =
    "tests/tests/it/aborts.rs::where_leaving_ends_the_bill_exactly_what_was_delivered_is_billed";
const ABORTS_DRAINED: &str =
    "tests/tests/it/aborts.rs::where_providers_bill_on_the_stream_is_drained_and_the_usage_event_is_billed";
const BOOKS: &str = "tests/tests/it/books_over_http.rs::the_costs_told_are_the_costs_booked_everywhere";
const ENDINGS: &str = "crates/gateway/src/tail.rs::each_ending_is_charged_as_its_row_says";
const POLICY: &str = "tests/tests/it/outcomes.rs::answers_cost_what_the_policy_says";
const BYOK: &str =
    "crates/store-redis/tests/it/rules.rs::an_own_key_call_within_the_allowance_holds_and_costs_nothing";

/// The table, in the order in which it is published.
pub const ROWS: &[Row] = &[
    Row {
        case: Case::Refused,
        what: "refused before a provider is called: key, limit, balance, bad request, no endpoint",
        counted: "–",
        charge: "nothing",
        basis: Basis::Nothing,
        tests: &[
            "tests/tests/it/malformed.rs::malformed_requests_are_typed_refusals_that_reach_nobody_and_hold_nothing",
        ],
    },
    Row {
        case: Case::Complete,
        what: "complete answer with the provider's usage, also when it ends by length or content filter",
        counted: "the provider's last count",
        charge: "its price (`exact`)",
        basis: Basis::Provider,
        tests: &[POLICY, BOOKS, ENDINGS],
    },
    Row {
        case: Case::CacheHit,
        what: "tokens that the provider read from its cache; there is no cache of answers, so every answer is a call",
        counted: "the provider's count of them",
        charge: "the price of cached tokens, where the endpoint has one",
        basis: Basis::Provider,
        tests: &[POLICY, "crates/billing/src/price.rs::usage_is_priced_by_class_and_tier"],
    },
    Row {
        case: Case::UsageMissing,
        what: "complete answer, usage missing or a count that nobody can bill (below zero, more cached tokens than prompt)",
        counted: "our own count (o200k) of prompt and delivered text",
        charge: "its price, at most the hold (`estimated`)",
        basis: Basis::Own,
        tests: &[POLICY, ENDINGS],
    },
    Row {
        case: Case::AboveHold,
        what: "usage above the hold",
        counted: "the provider's count",
        charge: "its price as far as balance and caps cover it; the rest is uncollected, our loss",
        basis: Basis::Provider,
        tests: &[
            "crates/store-redis/tests/it/rules.rs::a_charge_is_the_hold_and_above_it_what_is_available_and_left_in_every_cap",
            "crates/store-postgres/tests/it/ingest.rs::what_could_not_be_collected_is_the_marketplaces_loss",
        ],
    },
    Row {
        case: Case::AbsurdUsage,
        what: "usage beyond what the endpoint can read or write, by more than a tenth",
        counted: "cut",
        charge: "the hold, logged as a warning (`estimated`)",
        basis: Basis::Own,
        tests: &[
            "tests/tests/it/books_over_http.rs::an_absurd_usage_is_capped_at_its_hold_and_the_books_still_balance",
        ],
    },
    Row {
        case: Case::InconsistentUsage,
        what: "usage whose reasoning or audio is larger than its whole",
        counted: "the whole; parts are cut to fit",
        charge: "its price",
        basis: Basis::Provider,
        tests: &[POLICY, "crates/kernel/src/usage.rs::a_part_never_stays_larger_than_its_whole"],
    },
    Row {
        case: Case::OwnKeyAllowance,
        what: "own key within the month's allowance",
        counted: "the provider's count",
        charge: "nothing; the list price is recorded",
        basis: Basis::Provider,
        tests: &[
            BYOK,
            "tests/tests/it/byok_edge.rs::two_hundred_requests_at_fifty_below_the_allowance_leave_exactly_fifty_free",
        ],
    },
    Row {
        case: Case::OwnKeyFee,
        what: "own key beyond the allowance",
        counted: "the provider's count",
        charge: "5 % of the list price, rounded down",
        basis: Basis::Provider,
        tests: &[
            "crates/billing/src/fees.rs::the_byok_fee_is_a_share_of_the_list_price",
            "tests/tests/it/byok_edge.rs::two_hundred_requests_at_fifty_below_the_allowance_leave_exactly_fifty_free",
        ],
    },
    Row {
        case: Case::FailedAttempts,
        what: "attempts before the one that answered, or all of them failed",
        counted: "–",
        charge: "nothing; the hold is released",
        basis: Basis::Nothing,
        tests: &[BOOKS, POLICY],
    },
    Row {
        case: Case::FailedAnswer,
        what: "error finish, an error in the stream, or a stream that breaks off before its finish, also after output",
        counted: "–",
        charge: "nothing (`nothing`)",
        basis: Basis::Nothing,
        tests: &[POLICY, BOOKS, ENDINGS],
    },
    Row {
        case: Case::EmptyAnswer,
        what: "no text, no output tokens and no finish reason of the provider's",
        counted: "–",
        charge: "nothing",
        basis: Basis::Nothing,
        tests: &[ENDINGS],
    },
    Row {
        case: Case::SilentFinish,
        what: "no text, but a regular finish",
        counted: "the provider's count",
        charge: "its price",
        basis: Basis::Provider,
        tests: &[POLICY, ENDINGS],
    },
    Row {
        case: Case::LeftWhereBillingStops,
        what: "client leaves a stream; the provider stops billing on cancel",
        counted: "upstream is closed; prompt (the provider's running count, else ours) and our count of the text so far",
        charge: "its price, at most the hold (`estimated`), also when nothing was delivered yet",
        basis: Basis::Own,
        tests: &[ABORTS_CUT, ENDINGS],
    },
    Row {
        case: Case::LeftAfterLastWord,
        what: "client leaves after the last word of the answer",
        counted: "the provider's count is awaited for 1.5 s",
        charge: "by that count if it came, else `estimated`",
        basis: Basis::Provider,
        tests: &[ENDINGS],
    },
    Row {
        case: Case::LeftWhereBillingGoesOn,
        what: "client leaves a stream; the provider bills on",
        counted: "drained for up to 120 s",
        charge: "by the provider's count if it came, else `estimated`",
        basis: Basis::Provider,
        tests: &[ABORTS_DRAINED],
    },
    Row {
        case: Case::LeftHiddenTokens,
        what: "client leaves an answer with tokens that only the provider can count: reasoning that was asked for or that the model does by itself, images, files, audio, video",
        counted: "drained for up to 120 s, whatever the provider does on cancel",
        charge: "by the provider's count if it came, else `estimated`",
        basis: Basis::Provider,
        tests: &[
            "tests/tests/it/outcomes.rs::a_model_that_reasons_unasked_is_drained_and_its_hidden_tokens_are_billed",
        ],
    },
    Row {
        case: Case::LeftBeforeWholeAnswer,
        what: "client leaves before a whole (not streamed) answer",
        counted: "as a stream: upstream is closed, or the answer is awaited",
        charge: "the prompt (`estimated`), or the answer's price",
        basis: Basis::Own,
        tests: &["tests/tests/it/outcomes.rs::leaving_before_a_whole_answer_costs_the_prompt_or_the_answer"],
    },
    Row {
        case: Case::TakesNothing,
        what: "client takes nothing for 45 s",
        counted: "it has left",
        charge: "as above",
        basis: Basis::Own,
        tests: &[ENDINGS],
    },
    Row {
        case: Case::SlowClient,
        what: "the stream breaks because the client kept the provider waiting",
        counted: "our own count of what was delivered",
        charge: "its price, at most the hold (`estimated`)",
        basis: Basis::Own,
        tests: &[ENDINGS],
    },
    Row {
        case: Case::Crash,
        what: "a process of ours dies in the middle of a call",
        counted: "what was last noted of the call",
        charge: "what was noted, at most the hold; nothing before the first note",
        basis: Basis::Own,
        tests: &[
            "tests/tests/it/crash.rs::a_killed_gateway_leaves_no_hold_and_no_double_charge",
            "crates/store-redis/tests/it/outbox.rs::the_sweeper_settles_what_nobody_renews_at_its_meter_and_never_above_the_hold",
        ],
    },
    Row {
        case: Case::LateSettlement,
        what: "the true use becomes known after the hold had expired",
        counted: "the later, final count",
        charge: "the difference is booked once, in either direction (`adjust`)",
        basis: Basis::Provider,
        tests: &["crates/store-postgres/tests/it/ingest.rs::a_sweep_is_corrected_once_by_its_settlement"],
    },
    Row {
        case: Case::PriceChange,
        what: "a price changes while the call runs",
        counted: "–",
        charge: "the price in force when the call was admitted",
        basis: Basis::Provider,
        tests: &["tests/tests/it/outcomes.rs::a_call_keeps_the_price_it_began_with"],
    },
];

/// The table as `docs/money.md` carries it.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| what happened | counted by | charge |\n|---|---|---|\n");
    for row in ROWS {
        text.push_str("| ");
        text.push_str(&[row.what, row.counted, row.charge].join(" | "));
        text.push_str(" |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::path::PathBuf;

    fn root() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn every_case_has_one_row_and_every_row_its_words() {
        let cases: HashSet<Case> = ROWS.iter().map(|row| row.case).collect();
        assert_eq!(cases.len(), ROWS.len());
        // The enum's last member has the highest number: none is left out.
        #[expect(clippy::as_conversions, reason = "the number of a member is what is asked for")]
        let cases = Case::PriceChange as usize + 1;
        assert_eq!(cases, ROWS.len());
        for row in ROWS {
            assert!(!row.what.is_empty() && !row.counted.is_empty() && !row.charge.is_empty());
            assert!(!row.tests.is_empty(), "{:?} is held by no test", row.case);
        }
    }

    #[test]
    fn every_test_that_a_row_names_is_in_the_tree() {
        for row in ROWS {
            for test in row.tests {
                let (path, name) = test.split_once("::").unwrap();
                let source = std::fs::read_to_string(root().join(path)).unwrap_or_default();
                assert!(source.contains(&format!("fn {name}(")), "{:?}: there is no {test}", row.case);
            }
        }
    }

    #[test]
    fn the_money_page_carries_the_table_as_it_is() {
        let page = std::fs::read_to_string(root().join("docs/money.md")).unwrap();
        assert!(page.contains(&markdown()), "docs/money.md must contain:\n{}", markdown());
    }
}
