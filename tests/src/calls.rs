//! Calls of the API and what they answered, streamed or whole. Reads frames as the standard says and keeps
//! numbers as the text they were sent as.

use anyhow::Context as _;
use futures_util::StreamExt as _;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// `null` where the body is no JSON.
    pub body: Value,
    pub text: String,
}

impl Reply {
    /// Sends a request and reads its answer.
    pub async fn of(request: reqwest::RequestBuilder) -> anyhow::Result<Self> {
        Self::read(request.send().await?).await
    }

    pub(crate) async fn read(answer: reqwest::Response) -> anyhow::Result<Self> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self { status, headers, body, text })
    }

    /// A header's text, empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `error.metadata.error_type`, empty where there is none.
    #[must_use]
    pub fn error_type(&self) -> &str {
        text_of(&self.body, "/error/metadata/error_type")
    }

    /// `usage.cost` in nano-dollars.
    pub fn cost(&self) -> anyhow::Result<i64> {
        nano(&self.body, "/usage/cost")
    }

    /// The generation's id.
    #[must_use]
    pub fn generation(&self) -> &str {
        self.header("x-generation-id")
    }
}

/// A streamed answer, read until it ended or the reader stopped.
#[derive(Debug, Default, Clone)]
pub struct Streamed {
    pub status: u16,
    pub headers: HeaderMap,
    /// Every `data:` frame that is JSON, in order.
    pub chunks: Vec<Value>,
    /// All `delta.content` joined.
    pub text: String,
    /// `[DONE]` came.
    pub done: bool,
    /// The body where the status is an error.
    pub refusal: Value,
}

impl Streamed {
    /// Reads a stream until it ends, or until `enough` says so of what was read; then the connection is cut.
    pub async fn read(
        answer: reqwest::Response,
        mut enough: impl FnMut(&Self) -> bool,
    ) -> anyhow::Result<Self> {
        let mut streamed =
            Self { status: answer.status().as_u16(), headers: answer.headers().clone(), ..Self::default() };
        if streamed.status != 200 {
            streamed.refusal = serde_json::from_str(&answer.text().await?).unwrap_or(Value::Null);
            return Ok(streamed);
        }
        let mut pieces = answer.bytes_stream();
        let mut pending: Vec<u8> = Vec::new();
        if enough(&streamed) {
            return Ok(streamed);
        }
        while let Some(piece) = pieces.next().await {
            pending.extend_from_slice(&piece?);
            while let Some(end) = pending.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = pending.drain(..end + 2).collect();
                streamed.note(std::str::from_utf8(&frame)?)?;
                if enough(&streamed) {
                    return Ok(streamed);
                }
            }
        }
        Ok(streamed)
    }

    fn note(&mut self, frame: &str) -> anyhow::Result<()> {
        for line in frame.lines() {
            let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
            if data == "[DONE]" {
                self.done = true;
                continue;
            }
            let chunk: Value = serde_json::from_str(data).with_context(|| format!("no JSON: {data}"))?;
            self.text.push_str(text_of(&chunk, "/choices/0/delta/content"));
            self.chunks.push(chunk);
        }
        Ok(())
    }

    /// `usage.cost` of the usage chunk in nano-dollars.
    pub fn cost(&self) -> anyhow::Result<i64> {
        let chunk = self.chunks.iter().rev().find(|chunk| chunk.pointer("/usage/cost").is_some());
        nano(chunk.context("no chunk has a cost")?, "/usage/cost")
    }

    /// The generation's id.
    #[must_use]
    pub fn generation(&self) -> &str {
        self.headers.get("x-generation-id").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A text inside JSON, empty where there is none.
#[must_use]
pub fn text_of<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Dollars inside JSON as nano-dollars, read from their digits.
pub(crate) fn nano(value: &Value, pointer: &str) -> anyhow::Result<i64> {
    let amount = value.pointer(pointer).with_context(|| format!("{pointer} is missing in {value}"))?;
    nano_of(&amount.to_string())
}

/// Nano-dollars of a decimal text like `12.5`, `9e-05` or `0.000000001`. More than nine decimals are refused.
pub(crate) fn nano_of(text: &str) -> anyhow::Result<i64> {
    let plain = text.trim_matches('"');
    let (mantissa, exponent) = match plain.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>()?),
        None => (plain, 0),
    };
    let (sign, digits) = mantissa.strip_prefix('-').map_or((1, mantissa), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number: i64 = format!("{whole}{fraction}").parse().with_context(|| format!("no amount: {text}"))?;
    let shift = 9 + exponent - i32::try_from(fraction.len())?;
    let power = |by: i32| 10_i64.checked_pow(u32::try_from(by).unwrap_or(u32::MAX)).context("out of range");
    if shift >= 0 {
        return Ok(sign * number.checked_mul(power(shift)?).context("out of range")?);
    }
    let divisor = power(-shift)?;
    anyhow::ensure!(number % divisor == 0, "{text} is finer than a nano-dollar");
    Ok(sign * (number / divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_from_their_digits() {
        let rows = [
            ("12.5", 12_500_000_000),
            ("0.000000001", 1),
            ("9e-05", 90_000),
            ("1.25e-6", 1_250),
            ("-3", -3_000_000_000),
            ("\"0.10\"", 100_000_000),
            ("0", 0),
        ];
        for (text, expected) in rows {
            assert_eq!(nano_of(text).unwrap(), expected, "{text}");
        }
        assert!(nano_of("0.0000000001").is_err());
        assert!(nano_of("x").is_err());
    }
}
