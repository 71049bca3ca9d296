//! Judges the prices of one row: exact integers, or a stable code and a sentence saying why not.
//!
//! Compares nothing with other sources; that is `assemble`'s part.

use super::row::{Figure, Prices, Row, Unit};
use crate::tariff::{Rates, Tier};
use kernel::decimal::{DecimalError, parse_scaled};
use kernel::{MoneyError, PicoUsd};

/// Audio tokens cost up to forty times text tokens at those who sell them.
const AUDIO_FACTOR: i64 = 200;

/// Why a row cannot go live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// Above this no token was ever sold: $10,000 per million.
const ABSURD_PER_TOKEN: PicoUsd = PicoUsd::new(10_000_000_000);
/// A cache write costs up to twice the prompt at those who sell it; ten times is a slip of the unit.
const CACHE_WRITE_FACTOR: i64 = 10;

/// The row's prices as integers.
pub(crate) fn rates_and_tiers(row: &Row) -> Result<(Rates, Vec<Tier>), Fault> {
    let currency = row.currency.as_deref().unwrap_or("USD");
    if currency != "USD" {
        return Err(Fault::new(
            "unknown_currency",
            format!("{currency} is not a currency that is sold in; use USD"),
        ));
    }
    let rates = rates(&row.prices, row.unit)?;
    let mut tiers = Vec::with_capacity(row.tiers.len());
    for (above, prices) in &row.tiers {
        let tier = Tier { above_prompt_tokens: *above, rates: tier_rates(prices, row.unit, &rates)? };
        tiers.push(tier);
    }
    tiers.sort_by_key(|tier| tier.above_prompt_tokens);
    if tiers.windows(2).any(|pair| matches!(pair, [a, b] if a.above_prompt_tokens == b.above_prompt_tokens)) {
        return Err(Fault::new("absurd", "two price tiers begin at the same prompt length"));
    }
    Ok((rates, tiers))
}

fn rates(prices: &Prices, unit: Unit) -> Result<Rates, Fault> {
    let (prompt, completion) = match (&prices.prompt, &prices.completion) {
        (None, None) => return Err(Fault::new("unpriced", "the source names no price")),
        (None, Some(_)) => return Err(Fault::new("unpriced", "the source names no prompt price")),
        (Some(_), None) => {
            return Err(Fault::new("missing_output_price", "the source names no completion price"));
        }
        (Some(prompt), Some(completion)) => (prompt, completion),
    };
    let rates = Rates {
        prompt: token("prompt", prompt, unit)?,
        completion: token("completion", completion, unit)?,
        cache_read: optional("cache read", prices.cache_read.as_ref(), unit)?,
        cache_write: optional("cache write", prices.cache_write.as_ref(), unit)?,
        cache_write_1h: optional("one-hour cache write", prices.cache_write_1h.as_ref(), unit)?,
        reasoning: optional("reasoning", prices.reasoning.as_ref(), unit)?,
        audio_prompt: optional("audio prompt", prices.audio_prompt.as_ref(), unit)?,
        audio_completion: optional("audio completion", prices.audio_completion.as_ref(), unit)?,
        image: piece("image", prices.image.as_ref())?,
        request: piece("request", prices.request.as_ref())?,
    };
    sane(&rates)?;
    Ok(rates)
}

/// A tier states only what differs, so the rest comes from the base prices.
fn tier_rates(prices: &Prices, unit: Unit, base: &Rates) -> Result<Rates, Fault> {
    let or = |what, figure: Option<&Figure>, base| match figure {
        Some(figure) => token(what, figure, unit),
        None => Ok(base),
    };
    let maybe = |what, figure: Option<&Figure>, base| Ok::<_, Fault>(optional(what, figure, unit)?.or(base));
    let rates = Rates {
        prompt: or("long prompt", prices.prompt.as_ref(), base.prompt)?,
        completion: or("long completion", prices.completion.as_ref(), base.completion)?,
        cache_read: maybe("long cache read", prices.cache_read.as_ref(), base.cache_read)?,
        cache_write: maybe("long cache write", prices.cache_write.as_ref(), base.cache_write)?,
        cache_write_1h: maybe("long cache write", prices.cache_write_1h.as_ref(), base.cache_write_1h)?,
        reasoning: maybe("long reasoning", prices.reasoning.as_ref(), base.reasoning)?,
        audio_prompt: maybe("long audio prompt", prices.audio_prompt.as_ref(), base.audio_prompt)?,
        audio_completion: maybe("long audio", prices.audio_completion.as_ref(), base.audio_completion)?,
        ..*base
    };
    sane(&rates)?;
    Ok(rates)
}

fn token(what: &str, figure: &Figure, unit: Unit) -> Result<PicoUsd, Fault> {
    let parsed = match unit {
        Unit::Million => PicoUsd::parse_per_million(&figure.0),
        Unit::One => PicoUsd::parse_per_unit(&figure.0),
    };
    let price = exact(what, figure, unit, parsed)?;
    if price > ABSURD_PER_TOKEN {
        let reason =
            format!("the {what} price is ${} per million tokens: a slip of the unit?", price.per_million());
        return Err(Fault::new("absurd", reason));
    }
    Ok(price)
}

/// A figure that is not an amount, or finer than our unit, or negative, has its own words.
fn exact(
    what: &str,
    figure: &Figure,
    unit: Unit,
    parsed: Result<PicoUsd, MoneyError>,
) -> Result<PicoUsd, Fault> {
    match parsed {
        Ok(price) if price < PicoUsd::ZERO => {
            Err(Fault::new("absurd", format!("the {what} price {} is negative", figure.0)))
        }
        Ok(price) => Ok(price),
        Err(MoneyError::Text(DecimalError::TooFine)) => match float_dirt(figure, unit) {
            Some(price) => Ok(price),
            None => Err(Fault::new(
                "not_exact",
                format!("the {what} price {} is finer than a pico-dollar", figure.0),
            )),
        },
        Err(MoneyError::Text(DecimalError::Syntax)) => {
            Err(Fault::new("absurd", format!("the {what} price {} is not a decimal number", figure.0)))
        }
        Err(_) => Err(Fault::new("absurd", format!("the {what} price {} is out of range", figure.0))),
    }
}

/// `2.9999999999999997e-06` is what binary arithmetic made of `3e-06`. Only a figure with at least 15
/// significant digits that lies within a billionth of a pico-dollar price is read as that price.
fn float_dirt(figure: &Figure, unit: Unit) -> Option<PicoUsd> {
    let places: u32 = match unit {
        Unit::Million => 6,
        Unit::One => 12,
    };
    let mantissa = figure.0.split(['e', 'E']).next()?;
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect::<String>();
    if digits.trim_start_matches('0').len() < 15 {
        return None;
    }
    let fine = parse_scaled(&figure.0, places + 18).ok()?;
    let unit = 10_i128.pow(18);
    let near = (fine + unit / 2).div_euclid(unit);
    let off = (fine - near * unit).abs();
    let close = off.checked_mul(1_000_000_000)? <= fine.abs();
    if close { i64::try_from(near).ok().map(PicoUsd::new) } else { None }
}

fn optional(what: &str, figure: Option<&Figure>, unit: Unit) -> Result<Option<PicoUsd>, Fault> {
    figure.map(|figure| token(what, figure, unit)).transpose()
}

fn piece(what: &str, figure: Option<&Figure>) -> Result<Option<PicoUsd>, Fault> {
    let Some(figure) = figure else { return Ok(None) };
    let price = exact(what, figure, Unit::One, PicoUsd::parse_per_unit(&figure.0))?;
    // "0" for images and requests is how lists say "nothing beside the tokens".
    Ok(if price == PicoUsd::ZERO { None } else { Some(price) })
}

/// Relations that hold for every honest price list.
fn sane(rates: &Rates) -> Result<(), Fault> {
    if rates.prompt == PicoUsd::ZERO || rates.completion == PicoUsd::ZERO {
        return Err(Fault::new(
            "zero_price",
            format!(
                "a price of zero (prompt ${}, completion ${} per million) is never taken from a file; \
                 mark the endpoint free instead",
                rates.prompt.per_million(),
                rates.completion.per_million()
            ),
        ));
    }
    if rates.completion.get().saturating_mul(100) < rates.prompt.get() {
        return Err(Fault::new(
            "absurd",
            "the completion price is less than a hundredth of the prompt price",
        ));
    }
    let text = rates.prompt.max(rates.completion).get().saturating_mul(AUDIO_FACTOR);
    if [rates.audio_prompt, rates.audio_completion].into_iter().flatten().any(|audio| audio.get() > text) {
        return Err(Fault::new(
            "absurd",
            "audio costs more than two hundred times the text: a slip of the unit?",
        ));
    }
    let above = |price: Option<PicoUsd>, factor: i64| {
        price.is_some_and(|price| price.get() > rates.prompt.get().saturating_mul(factor))
    };
    if above(rates.cache_read, 2) {
        return Err(Fault::new("absurd", "reading the cache costs more than twice the prompt price"));
    }
    if above(rates.cache_write, CACHE_WRITE_FACTOR) || above(rates.cache_write_1h, CACHE_WRITE_FACTOR) {
        return Err(Fault::new("absurd", "writing the cache costs more than ten times the prompt price"));
    }
    Ok(())
}

/// Differs by more than half of the old price, up or down.
pub(crate) fn jumps(old: PicoUsd, new: PicoUsd) -> bool {
    let (old, new) = (i128::from(old.get()), i128::from(new.get()));
    (new - old).abs() * 2 > old.abs()
}

#[cfg(test)]
mod tests {
    use super::super::row::Facts;
    use super::*;

    fn row(prompt: Option<&str>, completion: Option<&str>) -> Row {
        let figure = |text: Option<&str>| text.map(|t| Figure(t.to_owned()));
        Row {
            provider: "p".into(),
            id: "m".into(),
            model: None,
            base_model: None,
            currency: None,
            unit: Unit::Million,
            prices: Prices { prompt: figure(prompt), completion: figure(completion), ..Prices::default() },
            tiers: Vec::new(),
            facts: Facts::default(),
            confirm_jump: false,
            confirm_drop: false,
        }
    }

    #[test]
    fn prices_become_exact_integers_or_a_code() {
        type Case<'a> = (Option<&'a str>, Option<&'a str>, Result<i64, &'a str>);
        let rows: &[Case<'_>] = &[
            (Some("2.50"), Some("10"), Ok(2_500_000)),
            (Some("0.0375"), Some("0.15"), Ok(37_500)),
            (None, None, Err("unpriced")),
            (None, Some("1"), Err("unpriced")),
            (Some("1"), None, Err("missing_output_price")),
            (Some("0"), Some("0"), Err("zero_price")),
            (Some("0.00"), Some("1"), Err("zero_price")),
            (Some("1"), Some("0"), Err("zero_price")),
            (Some("-1"), Some("1"), Err("absurd")),
            (Some("true"), Some("1"), Err("absurd")),
            (Some("1e40"), Some("1"), Err("absurd")),
            (Some("20000"), Some("20000"), Err("absurd")),
            (Some("1000"), Some("9.99"), Err("absurd")),
            (Some("0.0000001"), Some("1"), Err("not_exact")),
            (Some("2.9999999999999997"), Some("15"), Ok(3_000_000)),
            (Some("2.99999"), Some("15"), Ok(2_999_990)),
        ];
        for (prompt, completion, expected) in rows {
            let result = rates_and_tiers(&row(*prompt, *completion));
            let short = result.as_ref().map(|(rates, _)| rates.prompt.get()).map_err(|fault| fault.code);
            assert_eq!(short, *expected, "{prompt:?} {completion:?}");
        }
    }

    #[test]
    fn cache_prices_and_currency_are_checked() {
        let mut bad = row(Some("1"), Some("2"));
        bad.prices.cache_read = Some(Figure("2.01".into()));
        assert_eq!(rates_and_tiers(&bad).unwrap_err().code, "absurd");
        let mut loud = row(Some("0.0023"), Some("0.0023"));
        loud.prices.audio_completion = Some(Figure("2.3".into()));
        assert_eq!(rates_and_tiers(&loud).unwrap_err().code, "absurd");
        let mut foreign = row(Some("1"), Some("2"));
        foreign.currency = Some("EUR".into());
        assert_eq!(rates_and_tiers(&foreign).unwrap_err().code, "unknown_currency");
    }

    #[test]
    fn a_tier_inherits_what_it_does_not_state() {
        let mut long = row(Some("1"), Some("2"));
        long.prices.cache_read = Some(Figure("0.1".into()));
        long.tiers = vec![(200_000, Prices { prompt: Some(Figure("2".into())), ..Prices::default() })];
        let (_, tiers) = rates_and_tiers(&long).unwrap();
        assert_eq!(tiers[0].rates.prompt, PicoUsd::new(2_000_000));
        assert_eq!(tiers[0].rates.completion, PicoUsd::new(2_000_000));
        assert_eq!(tiers[0].rates.cache_read, Some(PicoUsd::new(100_000)));
    }

    #[test]
    fn a_jump_is_more_than_half_of_the_old_price() {
        for (old, new, expected) in [(100, 150, false), (100, 151, true), (100, 50, false), (100, 49, true)] {
            assert_eq!(jumps(PicoUsd::new(old), PicoUsd::new(new)), expected, "{old} {new}");
        }
    }
}
