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
    let sign = if value < 0 { "-" } else { "" };
    let unit = 10_u128.pow(scale);
    let magnitude = value.unsigned_abs();
    let (whole, fraction) = (magnitude / unit, magnitude % unit);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let width = usize::try_from(scale).unwrap_or(usize::MAX);
    let digits = format!("{fraction:0width$}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
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
    }
}
