//! Admission: the ceiling of the plan is set aside before anything is sent. A candidate that cannot be
//! afforded leaves the plan; the request is refused only when none is left.

use crate::intake::Intake;
use crate::refusal::{Kind, Refusal, seconds_until};
use crate::settlements::Settlements;
use crate::stage::authenticate::Caller;
use crate::tasks::Tasks;
use billing::engine::{CapPeriod, Funding, Grant, OwnKeyTerms, Reserve, Reserved};
use billing::fees::ByokFee;
use billing::price::{Bound, Extras, affordable_completion, ceiling};
use billing::{Credits, HoldKey, HoldOwner};
use chrono::{Datelike as _, Days, Months, NaiveDate, NaiveTime};
use kernel::ids::GenerationId;
use kernel::{AccountRef, Moment, MoneyError, NanoUsd, StoreErrorKind, crash};
use routing::Candidate;
use std::time::Duration;

/// A new call waits so often and so long, two seconds in all, for an engine that is changing hands.
const WAITS: u32 = 40;
const WAIT: Duration = Duration::from_millis(50);

/// The fewest completion tokens worth a call when the client named no limit.
const LEAST_COMPLETION: u64 = 256;

/// What a request can use at most.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// Upper bound.
    pub prompt_tokens: u64,
    pub images: u64,
    /// As the client gave it, per choice.
    pub max_tokens: Option<u32>,
    /// Choices.
    pub n: u32,
    /// It carries files, audio or video, whose tokens only the provider can count: the prompt may fill the
    /// endpoint's whole room.
    pub open_media: bool,
}

/// A candidate with the hold behind it.
#[derive(Debug, Clone)]
pub struct Funded {
    pub candidate: Candidate,
    /// The output limit to send upstream where the credits, not the client, set one.
    pub max_tokens: Option<u32>,
}

/// Money set aside, and who can be called with it, best first.
#[derive(Debug)]
pub struct Admitted {
    pub grant: Grant,
    pub funding: Funding,
    pub plan: Vec<Funded>,
}

/// Who admits: the credit engine and the rules around it.
#[derive(Clone)]
pub struct Cashier {
    pub credits: Credits,
    pub byok: ByokFee,
    /// After so long without a heartbeat a hold is swept.
    pub hold_lifetime: Duration,
    /// The site, for "add credits at …".
    pub site_url: String,
    /// How every hold ends, kept until the ledger has it.
    pub settlements: Settlements,
    /// Where holds of which nobody knows are given back.
    pub tasks: Tasks,
    /// Closed while too much waits for the ledger.
    pub intake: Intake,
}

/// What is to be admitted.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub generation: GenerationId,
    /// 0 for the first group of candidates, 1 for the next: each has a hold of its own.
    pub round: usize,
    pub caller: &'a Caller,
    pub group: &'a [Candidate],
    pub needs: &'a Needs,
    pub now: Moment,
}

impl Order<'_> {
    /// Even numbers are own keys, odd ones our credentials; later rounds count on.
    fn funding_number(&self, funding: Funding) -> u8 {
        let round = u8::try_from(self.round / 2).unwrap_or(u8::MAX / 2);
        round * 2 + u8::from(funding == Funding::Credits)
    }

    fn owner(&self) -> HoldOwner {
        let caller = self.caller;
        let model = self.group.first().map_or_else(String::new, |candidate| candidate.endpoint.model.clone());
        let key = caller.key.as_ref().map(|key| key.id);
        HoldOwner { org: caller.org, workspace: caller.workspace, key, member: caller.member, model }
    }
}

struct Quote {
    candidate: Candidate,
    bound: Bound,
    /// The most it can cost at list prices.
    ceiling: NanoUsd,
    want: NanoUsd,
    least: NanoUsd,
}

impl Cashier {
    /// Reserves for a group of candidates that are paid the same way.
    pub async fn admit(&self, order: &Order<'_>) -> Result<Admitted, Refusal> {
        self.intake.check()?;
        let Order { group, needs, .. } = *order;
        if !self.settlements.has_room() {
            return Err(no_room());
        }
        let own = group.first().is_some_and(|candidate| candidate.own_key.is_some());
        let funding = if own { Funding::OwnKey } else { Funding::Credits };
        let quotes = self.quotes(group, needs, funding).map_err(|_range| too_expensive())?;
        let want = quotes.iter().map(|quote| quote.want).max().ok_or_else(too_expensive)?;
        let least = quotes.iter().map(|quote| quote.least).min().ok_or_else(too_expensive)?;
        let owner = order.owner().packed().unwrap_or_default();
        let request = Reserve {
            key: HoldKey { generation: order.generation, funding: order.funding_number(funding) },
            account: order.caller.account,
            want,
            least,
            lifetime: self.hold_lifetime,
            own_key: self.terms(&quotes, funding),
            owner: &owner,
            caps: &order.caller.caps,
        };
        crash::point("gateway.before_reserve");
        let reserved = self.reserve(&request).await?;
        crash::point("gateway.reserved");
        match reserved {
            Reserved::Granted(grant) if self.settlements.admitted(&grant) => {
                crash::point("gateway.admitted");
                Ok(fund(grant, funding, quotes, needs))
            }
            Reserved::Granted(_) => {
                self.give_back(request.key, request.account);
                Err(no_room())
            }
            refused => Err(self.refuse(refused, &quotes, needs, order.now)),
        }
    }

    /// Asks the engine, again for a while when it is changing hands: a shard that begins its next life serves
    /// within seconds.
    async fn reserve(&self, request: &Reserve<'_>) -> Result<Reserved, Refusal> {
        for _ in 0..WAITS {
            match self.credits.reserve(request).await {
                Err(error) if error.kind == StoreErrorKind::Moving => tokio::time::sleep(WAIT).await,
                Err(error) => {
                    // The engine may have taken it without our hearing of it.
                    self.give_back(request.key, request.account);
                    return Err(Refusal::from_store(&error));
                }
                Ok(reserved) => return Ok(reserved),
            }
        }
        Err(changing_hands())
    }

    /// Releases, in the background, a hold of which nobody knows whether it was made.
    fn give_back(&self, key: HoldKey, account: AccountRef) {
        const PAUSE: Duration = Duration::from_millis(500);
        const TRIES: u32 = 20;
        let credits = self.credits.clone();
        self.tasks.spawn_session(Box::pin(async move {
            for _ in 0..TRIES {
                tokio::time::sleep(PAUSE).await;
                if credits.release(&key, account).await.is_ok() {
                    return;
                }
            }
        }));
    }

    /// Renews a hold for as long as it is awaited.
    pub async fn keep_alive(&self, grant: &Grant) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(self.hold_lifetime / 3).await;
            let renewed = self.credits.extend(grant, NanoUsd::ZERO, NanoUsd::ZERO, self.hold_lifetime).await;
            if let Err(error) = renewed {
                tracing::warn!(%error, "a hold could not be renewed");
            }
        }
    }

    fn quotes(&self, group: &[Candidate], needs: &Needs, funding: Funding) -> Result<Vec<Quote>, MoneyError> {
        let quote = |candidate: &Candidate| {
            let choices = u64::from(needs.n);
            let longest = u64::from(candidate.endpoint.max_completion_tokens);
            let asked = needs.max_tokens.map(|tokens| u64::from(tokens).min(longest));
            let completion_tokens = asked.unwrap_or(longest).saturating_mul(choices);
            let extras = Extras { images: needs.images };
            let room = candidate.endpoint.max_prompt_tokens.unwrap_or(candidate.endpoint.context_length);
            let room = u64::from(room);
            let prompt_tokens = if needs.open_media { room } else { needs.prompt_tokens };
            let bound = Bound { prompt_tokens, completion_tokens, extras };
            let tariff = &candidate.endpoint.tariff;
            let most = ceiling(tariff, &bound)?;
            let want = self.hold(most, funding)?;
            let fewest = completion_tokens.min(LEAST_COMPLETION.saturating_mul(choices));
            let least = match (asked, funding) {
                (None, Funding::Credits) => ceiling(tariff, &Bound { completion_tokens: fewest, ..bound })?,
                _ => want,
            };
            Ok(Quote { candidate: candidate.clone(), bound, ceiling: most, want, least })
        };
        group.iter().map(quote).collect()
    }

    /// What the engine needs to count by list price, where the allowance is one.
    fn terms(&self, quotes: &[Quote], funding: Funding) -> Option<OwnKeyTerms> {
        let ceiling = quotes.iter().map(|quote| quote.ceiling).max()?;
        let terms = OwnKeyTerms { ceiling, basis_points: self.byok.basis_points };
        (funding == Funding::OwnKey).then_some(terms)
    }

    fn hold(&self, ceiling: NanoUsd, funding: Funding) -> Result<NanoUsd, MoneyError> {
        match funding {
            Funding::Credits => Ok(ceiling),
            Funding::OwnKey => self.byok.hold(ceiling),
        }
    }

    fn refuse(&self, refused: Reserved, quotes: &[Quote], needs: &Needs, now: Moment) -> Refusal {
        match refused {
            Reserved::Insufficient { available, balance, reserved } => {
                self.insufficient(quotes, needs, [available, balance, reserved])
            }
            Reserved::CapExceeded { cap, limit, used, reserved, period } => {
                let least = quotes.iter().map(|quote| quote.least).min().unwrap_or(NanoUsd::ZERO);
                cap_refusal(&cap.0, [limit, used, reserved, least], period, now, &self.site_url)
            }
            Reserved::Frozen => Refusal::new(
                Kind::PermissionDenied,
                format!(
                    "This organization is frozen because a payment was disputed at the bank. Calls are accepted again \
                     when the dispute is withdrawn or settled: see {}/credits, or write to support.",
                    self.site_url
                ),
            )
            .with("reason", "frozen"),
            Reserved::Duplicate(_) | Reserved::Closed | Reserved::Granted(_) => {
                Refusal::new(Kind::Internal, "The request could not be admitted. Send it again.")
            }
            Reserved::AccountMissing | Reserved::CapMissing(_) => {
                Refusal::new(Kind::Unavailable, "The account is being loaded. Try again shortly.")
                    .retry_after(1)
            }
        }
    }

    /// Balance, needed, affordable tokens, where to top up; `Retry-After` when holds are the reason.
    fn insufficient(
        &self,
        quotes: &[Quote],
        needs: &Needs,
        [available, balance, reserved]: [NanoUsd; 3],
    ) -> Refusal {
        let cheapest = quotes.iter().min_by_key(|quote| quote.least);
        let needed = cheapest.map_or(NanoUsd::ZERO, |quote| quote.least);
        let affordable = cheapest.and_then(|quote| {
            let free = available.max(NanoUsd::ZERO);
            let tokens = affordable_completion(&quote.candidate.endpoint.tariff, &quote.bound, free)?;
            Some(tokens / u64::from(needs.n.max(1)))
        });
        let url = format!("{}/credits", self.site_url);
        let in_flight = balance >= needed && reserved > NanoUsd::ZERO;
        let message = match (in_flight, needs.max_tokens, affordable) {
            (true, _, _) => format!(
                "Your credits are set aside for requests in flight. Retry shortly, or add more at {url}."
            ),
            (false, Some(asked), Some(tokens)) if tokens > 0 => format!(
                "This request requires more credits, or fewer max_tokens. You requested up to {asked} tokens, but \
                 can only afford {tokens}. Add credits at {url}."
            ),
            _ => format!("Insufficient credits. Add more at {url}."),
        };
        let refusal = Refusal::new(Kind::PaymentRequired, message)
            .with("limit_source", "credits")
            .with("balance", balance.dollars())
            .with("reserved", reserved.dollars())
            .with("needed", needed.dollars())
            .with("affordable_tokens", affordable)
            .with("top_up_url", url);
        if in_flight { refusal.with("reason", "in_flight_budget_exhausted").retry_after(1) } else { refusal }
    }
}

/// Keeps the candidates that the granted amount covers, each with its output limit.
fn fund(grant: Grant, funding: Funding, quotes: Vec<Quote>, needs: &Needs) -> Admitted {
    let amount = grant.amount;
    let plan = quotes
        .into_iter()
        .filter(|quote| funding == Funding::OwnKey || quote.least <= amount)
        .map(|quote| {
            let limited = funding == Funding::Credits && quote.want > amount;
            let max_tokens = limited.then(|| limit_of(&quote, amount, needs.n)).flatten();
            Funded { candidate: quote.candidate, max_tokens }
        })
        .collect();
    Admitted { grant, funding, plan }
}

fn limit_of(quote: &Quote, amount: NanoUsd, n: u32) -> Option<u32> {
    let tokens = affordable_completion(&quote.candidate.endpoint.tariff, &quote.bound, amount)?;
    u32::try_from(tokens / u64::from(n.max(1))).ok()
}

/// What a call costs could not be remembered safely: nothing new begins.
fn no_room() -> Refusal {
    let message = "Farebox takes no new calls at the moment. Nothing was charged. Try again shortly.";
    Refusal::new(Kind::Unavailable, message).retry_after(5)
}

fn changing_hands() -> Refusal {
    let message = "Farebox is bringing its balances up to date and takes no new calls for a moment. Nothing was \
                   charged. Try again shortly.";
    Refusal::new(Kind::Unavailable, message).retry_after(2)
}

fn too_expensive() -> Refusal {
    Refusal::invalid("This request is larger than anything that can be priced. Send a shorter prompt.")
}

fn cap_refusal(
    cap: &str,
    [limit, used, reserved, least]: [NanoUsd; 4],
    period: CapPeriod,
    now: Moment,
    site_url: &str,
) -> Refusal {
    let (whose, page) = match cap.split_once(':').map_or("", |(kind, _)| kind) {
        "k" => ("Key", "keys"),
        "m" => ("Member", "members"),
        "w" => ("Workspace", "workspaces"),
        "g" => ("Guardrail", "guardrails"),
        _ => ("Organization", "organization"),
    };
    let resets_at = window_end(period, now);
    let name = period_name(period);
    let message = match resets_at {
        Some(at) => format!(
            "{whose} limit exceeded ({name} limit of ${}). It resets at {}. Manage it at {site_url}/{page}.",
            limit.dollars(),
            at.format("%Y-%m-%dT%H:%M:%SZ"),
        ),
        None => format!(
            "{whose} limit exceeded (total limit of ${}). Manage it at {site_url}/{page}.",
            limit.dollars()
        ),
    };
    let refusal = Refusal::new(Kind::LimitExceeded, message)
        .with("limit_source", format!("{}_limit", whose.to_lowercase()))
        .with("scope", name)
        .with("limit_usd", limit.dollars())
        .with("spend_usd", used.dollars())
        .with("reserved_usd", reserved.dollars())
        .with("resets_at", resets_at.map(|at| at.to_rfc3339()));
    let in_flight = reserved > NanoUsd::ZERO && limit.checked_sub(used).is_ok_and(|left| left >= least);
    match (in_flight, resets_at) {
        (true, _) => refusal.retry_after(1),
        (false, Some(at)) => refusal.retry_after(seconds_until(now, at)),
        (false, None) => refusal,
    }
}

fn period_name(period: CapPeriod) -> &'static str {
    match period {
        CapPeriod::Total => "total",
        CapPeriod::Daily => "daily",
        CapPeriod::Weekly => "weekly",
        CapPeriod::Monthly => "monthly",
    }
}

/// When the current window of a period ends (UTC; weeks from Monday); `None` for a total.
#[must_use]
pub fn window_end(period: CapPeriod, now: Moment) -> Option<Moment> {
    let today = now.date_naive();
    let next: Option<NaiveDate> = match period {
        CapPeriod::Total => None,
        CapPeriod::Daily => today.checked_add_days(Days::new(1)),
        CapPeriod::Weekly => {
            let days = 7 - u64::from(today.weekday().num_days_from_monday());
            today.checked_add_days(Days::new(days))
        }
        CapPeriod::Monthly => today.with_day(1).and_then(|first| first.checked_add_months(Months::new(1))),
    };
    next.map(|date| date.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_end_at_midnight_utc_on_monday_and_on_the_first() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let rows = [
            (CapPeriod::Daily, "2026-11-20T15:00:00Z", Some("2026-11-21T00:00:00Z")),
            (CapPeriod::Weekly, "2026-11-20T15:00:00Z", Some("2026-11-23T00:00:00Z")),
            (CapPeriod::Weekly, "2026-11-23T00:00:00Z", Some("2026-11-30T00:00:00Z")),
            (CapPeriod::Monthly, "2026-12-31T23:59:59Z", Some("2027-01-01T00:00:00Z")),
            (CapPeriod::Monthly, "2026-01-31T00:00:00Z", Some("2026-02-01T00:00:00Z")),
            (CapPeriod::Total, "2026-11-20T15:00:00Z", None),
        ];
        for (period, now, end) in rows {
            assert_eq!(window_end(period, at(now)), end.map(at), "{period:?} {now}");
        }
    }
}
