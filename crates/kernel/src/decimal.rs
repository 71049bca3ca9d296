//! Exact decimal text to scaled integers and back. The only way money enters or leaves as text.

/// Why a decimal text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("not a plain decimal number")]
    Syntax,
    #[error("more decimal places than the unit can hold")]
    TooFine,
    #[error("out of range")]
    Range,
}

/// Reads `[-]digits[.digits][e[+-]digits]` as an integer number of `10^-scale`. Nothing is rounded:
/// a text finer than the unit is an error.
pub fn parse_scaled(text: &str, scale: u32) -> Result<i128, DecimalError> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = split_exponent(body)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || (mantissa.contains('.') && fraction.is_empty()) {
        return Err(DecimalError::Syntax);
    }
    let mut value: i128 = 0;
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = digit.to_digit(10).ok_or(DecimalError::Syntax)?;
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i128::from(digit)))
            .ok_or(DecimalError::Range)?;
    }
    let places = i64::try_from(fraction.len()).map_err(|_too_long| DecimalError::Range)?;
    let shift = i64::from(scale) + exponent - places;
    let value = shift_decimal(value, shift)?;
    Ok(if negative { -value } else { value })
}

fn split_exponent(body: &str) -> Result<(&str, i64), DecimalError> {
    match body.split_once(['e', 'E']) {
        None => Ok((body, 0)),
        Some((mantissa, exponent)) => {
            let exponent: i64 = exponent.parse().map_err(|_not_a_number| DecimalError::Syntax)?;
            if exponent.abs() > 60 { Err(DecimalError::Range) } else { Ok((mantissa, exponent)) }
        }
    }
}

fn shift_decimal(mut value: i128, shift: i64) -> Result<i128, DecimalError> {
    for _ in 0..shift.max(0) {
        value = value.checked_mul(10).ok_or(DecimalError::Range)?;
    }
    for _ in 0..(-shift).max(0) {
        if value % 10 != 0 {
            return Err(DecimalError::TooFine);
        }
        value /= 10;
    }
    Ok(value)
}

/// Writes an integer number of `10^-scale` as plain decimal text without trailing zeros: `-0.00125`.
#[must_use]
pub fn format_scaled(value: i128, scale: u32) -> String {
    let mut text = String::with_capacity(24);
    if value < 0 {
        text.push('-');
    }
    let digits = Digits::of(value.unsigned_abs());
    let places = usize::try_from(scale).unwrap_or(usize::MAX);
    let (whole, fraction) = digits.split(places);
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// Decimal digits on the stack, without the machinery of formatting: every answer tells a dozen numbers.
#[derive(Debug, Clone)]
pub struct Digits {
    bytes: [u8; Self::MOST],
    /// Where the first digit stands that is not a zero in front; the last one always stands.
    first: usize,
}

impl Digits {
    /// Three pieces of nineteen digits; 128 bits need 39.
    const MOST: usize = 57;
    const PIECE: usize = 19;
    const PIECE_UNIT: u128 = 10_000_000_000_000_000_000;

    #[must_use]
    pub fn of(value: impl Into<u128>) -> Self {
        let mut bytes = [b'0'; Self::MOST];
        let mut first = Self::MOST - 1;
        let mut rest: u128 = value.into();
        let mut end = Self::MOST;
        for piece in bytes.rchunks_mut(Self::PIECE) {
            let high = rest / Self::PIECE_UNIT;
            let mut low = u64::try_from(rest - high * Self::PIECE_UNIT).unwrap_or_default();
            for (back, digit) in piece.iter_mut().rev().enumerate() {
                if low == 0 {
                    break;
                }
                *digit = b'0' + u8::try_from(low % 10).unwrap_or_default();
                low /= 10;
                first = end - back - 1;
            }
            rest = high;
            end -= Self::PIECE;
            if rest == 0 {
                break;
            }
        }
        Self { bytes, first }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text(self.first, Self::MOST)
    }

    /// The digits before the last `places`, without zeros in front, and those last ones, with them.
    fn split(&self, places: usize) -> (&str, &str) {
        let point = Self::MOST.saturating_sub(places);
        (self.text(self.first.min(point), point), self.text(point, Self::MOST))
    }

    fn text(&self, from: usize, to: usize) -> &str {
        std::str::from_utf8(self.bytes.get(from..to).unwrap_or_default()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_round_trips_exactly_or_is_refused() {
        let rows: &[(&str, u32, Result<i128, DecimalError>)] = &[
            ("0", 9, Ok(0)),
            ("10", 9, Ok(10_000_000_000)),
            ("0.0375", 6, Ok(37_500)),
            ("-0.5", 9, Ok(-500_000_000)),
            ("2.5e-06", 12, Ok(2_500_000)),
            ("2.5E-6", 12, Ok(2_500_000)),
            ("1e3", 0, Ok(1000)),
            ("0.0000000001", 9, Err(DecimalError::TooFine)),
            ("0.10", 1, Ok(1)),
            ("", 9, Err(DecimalError::Syntax)),
            (".5", 9, Err(DecimalError::Syntax)),
            ("5.", 9, Err(DecimalError::Syntax)),
            ("+5", 9, Err(DecimalError::Syntax)),
            ("1,5", 9, Err(DecimalError::Syntax)),
            ("0x10", 9, Err(DecimalError::Syntax)),
            ("NaN", 9, Err(DecimalError::Syntax)),
            ("1e999", 9, Err(DecimalError::Range)),
            ("99999999999999999999999999999999999999999", 9, Err(DecimalError::Range)),
        ];
        for (text, scale, expected) in rows {
            assert_eq!(parse_scaled(text, *scale), *expected, "{text}");
        }
        for (value, scale, text) in [(1_250_000, 9, "0.00125"), (-5, 1, "-0.5"), (3_000, 3, "3"), (0, 9, "0")]
        {
            assert_eq!(format_scaled(value, scale), text);
            assert_eq!(parse_scaled(text, scale), Ok(value));
        }
        // Against the standard library's own digits, at every length.
        for power in 0..39 {
            let unit = 10_u128.pow(power);
            for value in [unit - 1, unit, unit + 1, unit * 3 + 7, u128::MAX / unit] {
                assert_eq!(Digits::of(value).as_str(), value.to_string());
            }
            let Ok(value) = i128::try_from(unit + 5) else { continue };
            for scale in 0..20 {
                for value in [value, -value] {
                    let text = format_scaled(value, scale);
                    assert_eq!(parse_scaled(&text, scale), Ok(value), "{text}");
                    assert!(!text.starts_with('.') && !text.starts_with("-."), "{text}");
                    assert!(!text.contains('.') || !text.ends_with('0'), "{text}");
                }
            }
        }
    }
}
