//! How amounts, prices, counts and moments read on a page. The only place that turns them into text.
//!
//! Shows what other rooms computed: no price is multiplied and no fee decided here. Rounded texts are for
//! overviews; receipts use [`exact`].

use kernel::{Cents, Moment, NanoUsd, PicoUsd};

/// Every digit of an amount, at least two decimals: `$1.2345`.
#[must_use]
pub fn exact(amount: NanoUsd) -> String {
    dollars(&amount.dollars(), 2)
}

/// Whole cents, rounded down so that a balance never reads higher than it is: `$9.98`, `-$0.01`.
#[must_use]
pub fn cents(amount: NanoUsd) -> String {
    card(Cents::new(amount.get().div_euclid(10_000_000)))
}

/// Six decimals, for columns of small costs: `$0.001235`; `<$0.000001` for anything smaller.
#[must_use]
pub fn fine(amount: NanoUsd) -> String {
    rounded(amount, 6)
}

/// Four decimals, for totals: `$1.2346`.
#[must_use]
pub fn spend(amount: NanoUsd) -> String {
    rounded(amount, 4)
}

/// Card money: `$10.80`.
#[must_use]
pub fn card(amount: Cents) -> String {
    dollars(&amount.dollars(), 2)
}

/// A price per million tokens, at least two decimals: `$2.50`, `$0.0375`. The unit stands in the heading.
#[must_use]
pub fn per_million(price: PicoUsd) -> String {
    dollars(&price.per_million(), 2)
}

/// Decimal text of dollars, as the catalog's comparison gives it: `2.7` is `$2.70`.
#[must_use]
pub fn decimal(text: &str) -> String {
    dollars(text, 2)
}

/// A price per single unit (image, request), at least two decimals: `$0.0025`.
#[must_use]
pub fn per_unit(price: PicoUsd) -> String {
    dollars(&price.per_unit(), 2)
}

/// How far a new price is from the old one: `+12.5%`, `-3.0%`, `new` from zero.
#[must_use]
pub fn change(old: PicoUsd, new: PicoUsd) -> String {
    if old.get() == 0 {
        return "new".to_owned();
    }
    let tenths = (i128::from(new.get()) - i128::from(old.get())) * 1000 / i128::from(old.get());
    let sign = if tenths < 0 { "-" } else { "+" };
    format!("{sign}{}.{}%", tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10)
}

/// A part of a whole in percent with two decimals, rounded to the nearest: `8.00%`; `–` of nothing.
#[must_use]
pub fn share(part: Cents, whole: Cents) -> String {
    if whole.get() == 0 {
        return "–".to_owned();
    }
    let hundredths = (i128::from(part.get()) * 100_000 / i128::from(whole.get()) + 5) / 10;
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// A rate in tenths of a percent: 55 is `5.5%`.
#[must_use]
pub fn per_mille(rate: i64) -> String {
    percent(rate, 10)
}

/// A rate in hundredths of a percent: 500 is `5%`.
#[must_use]
pub fn basis_points(rate: u32) -> String {
    percent(i64::from(rate), 100)
}

/// Thousands separated: `12,345`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// At most four characters: `950`, `12.3K`, `1.2M`, `3B`.
#[must_use]
pub fn compact(value: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "T"), (1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")];
    for (unit, letter) in UNITS {
        if value >= unit {
            let tenths = value / (unit / 10);
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return if tenth == 0 || whole >= 100 {
                format!("{whole}{letter}")
            } else {
                format!("{whole}.{tenth}{letter}")
            };
        }
    }
    value.to_string()
}

/// `2026-11-20 14:03 UTC`.
#[must_use]
pub fn time(at: Moment) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-20 14:03:07`: for dense lists under a heading that says UTC.
#[must_use]
pub fn second(at: Moment) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `Nov 20, 2026`.
#[must_use]
pub fn date(at: Moment) -> String {
    at.format("%b %-d, %Y").to_string()
}

/// The value of a `datetime-local` field, UTC.
#[must_use]
pub fn datetime_local(at: Moment) -> String {
    at.format("%Y-%m-%dT%H:%M").to_string()
}

/// `840 ms` under ten seconds, then `12.3 s`.
#[must_use]
pub fn millis(value: u32) -> String {
    if value < 10_000 {
        format!("{} ms", count(u64::from(value)))
    } else {
        format!("{}.{} s", value / 1000, value % 1000 / 100)
    }
}

/// Tokens a second: `83 tok/s`; `–` when either is nothing.
#[must_use]
pub fn speed(tokens: u64, millis: u32) -> String {
    match tokens.saturating_mul(1000).checked_div(u64::from(millis)) {
        Some(rate) if rate > 0 => format!("{} tok/s", count(rate)),
        _ => "–".to_owned(),
    }
}

fn percent(value: i64, unit: i64) -> String {
    if value % unit == 0 {
        return format!("{}%", value / unit);
    }
    let width = if unit == 10 { 1 } else { 2 };
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    format!("{}%", text.trim_end_matches('0'))
}

/// Rounds half away from zero to `places` decimals; a visible amount never reads as zero.
fn rounded(amount: NanoUsd, places: u32) -> String {
    let step = 10_i64.pow(9_u32.saturating_sub(places));
    let magnitude = amount.get().unsigned_abs();
    let steps = (magnitude + step.unsigned_abs() / 2) / step.unsigned_abs();
    let width = usize::try_from(places).unwrap_or_default();
    if magnitude == 0 {
        return "$0.00".to_owned();
    }
    if steps == 0 {
        return format!("<$0.{:0>width$}", 1);
    }
    let sign = if amount.is_negative() { "-" } else { "" };
    let unit = 10_u64.pow(places);
    format!("{sign}${}.{:0width$}", grouped(&(steps / unit).to_string()), steps % unit)
}

/// Puts a dollar sign, thousands separators and at least `places` decimals on decimal text.
fn dollars(text: &str, places: usize) -> String {
    let (sign, body) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    format!("{sign}${}.{fraction:0<places$}", grouped(whole))
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_dollars_at_the_precision_of_their_place() {
        // nano, exact, cents, fine, spend
        let rows = [
            (0, "$0.00", "$0.00", "$0.00", "$0.00"),
            (10_000_000_000, "$10.00", "$10.00", "$10.000000", "$10.0000"),
            (9_987_654_321, "$9.987654321", "$9.98", "$9.987654", "$9.9877"),
            (1, "$0.000000001", "$0.00", "<$0.000001", "<$0.0001"),
            (500, "$0.0000005", "$0.00", "$0.000001", "<$0.0001"),
            (-1, "-$0.000000001", "-$0.01", "<$0.000001", "<$0.0001"),
            (-2_500_000_000, "-$2.50", "-$2.50", "-$2.500000", "-$2.5000"),
            (1_234_567_890_000_000, "$1,234,567.89", "$1,234,567.89", "$1,234,567.890000", "$1,234,567.8900"),
        ];
        for (nano, exactly, in_cents, finely, spent) in rows {
            let amount = NanoUsd::new(nano);
            assert_eq!(exact(amount), exactly, "{nano}");
            assert_eq!(cents(amount), in_cents, "{nano}");
            assert_eq!(fine(amount), finely, "{nano}");
            assert_eq!(spend(amount), spent, "{nano}");
        }
        assert_eq!(card(Cents::new(1080)), "$10.80");
        assert_eq!(card(Cents::new(2_637_500)), "$26,375.00");
    }

    #[test]
    fn prices_and_rates_keep_every_digit() {
        let rows = [(2_500_000, "$2.50"), (37_500, "$0.0375"), (15_000_000, "$15.00"), (1, "$0.000001")];
        for (pico, text) in rows {
            assert_eq!(per_million(PicoUsd::new(pico)), text);
        }
        assert_eq!(decimal("2.7"), "$2.70");
        assert_eq!(per_unit(PicoUsd::new(2_500_000_000)), "$0.0025");
        assert_eq!(per_mille(55), "5.5%");
        assert_eq!(per_mille(60), "6%");
        assert_eq!(basis_points(500), "5%");
        assert_eq!(basis_points(525), "5.25%");
        assert_eq!(basis_points(550), "5.5%");
        assert_eq!(share(Cents::new(80), Cents::new(1000)), "8.00%");
        assert_eq!(share(Cents::new(81), Cents::new(1464)), "5.53%");
        assert_eq!(share(Cents::new(1), Cents::new(0)), "–");
        assert_eq!(change(PicoUsd::new(200), PicoUsd::new(225)), "+12.5%");
        assert_eq!(change(PicoUsd::new(200), PicoUsd::new(199)), "-0.5%");
        assert_eq!(change(PicoUsd::new(0), PicoUsd::new(199)), "new");
    }

    #[test]
    fn counts_and_times_are_short() {
        let rows = [
            (0, "0", "0"),
            (950, "950", "950"),
            (1_000, "1K", "1,000"),
            (12_345, "12.3K", "12,345"),
            (131_072, "131K", "131,072"),
            (1_250_000, "1.2M", "1,250,000"),
            (3_000_000_000, "3B", "3,000,000,000"),
        ];
        for (value, short, long) in rows {
            assert_eq!(compact(value), short);
            assert_eq!(count(value), long);
        }
        let at = Moment::from_timestamp(1_795_183_420, 0).unwrap();
        assert_eq!(time(at), "2026-11-20 14:03 UTC");
        assert_eq!(date(at), "Nov 20, 2026");
        assert_eq!(datetime_local(at), "2026-11-20T14:03");
        assert_eq!(millis(840), "840 ms");
        assert_eq!(millis(12_345), "12.3 s");
        assert_eq!(speed(830, 10_000), "83 tok/s");
        assert_eq!(speed(830, 0), "–");
    }
}
