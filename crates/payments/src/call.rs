//! Calls of Stripe that the generated client is not built for: form out, a few named fields in.
//!
//! The generated types of these objects cost minutes of compiling and refuse what they do not know; only what
//! is read is described here. Nothing is decided: see `money_back` and `cards`.

use crate::client::StripeClient;
use crate::failure::{Retry, classify, retry};
use billing::payment::PaymentError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use stripe::{IdempotencyKey, RequestStrategy};
use stripe_client_core::{RequestBuilder, StripeMethod};

/// Times that an act is asked for before giving up. The same key every time: a failure of Stripe's own may
/// have had its effect.
const ATTEMPTS: u32 = 2;

/// Parameters by their names as Stripe writes them, like `metadata[refund]`.
pub(crate) type Form = BTreeMap<String, String>;

/// A form of so many fields.
pub(crate) fn form<const N: usize>(fields: [(&str, String); N]) -> Form {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    #[serde(default)]
    pub(crate) has_more: bool,
}

impl StripeClient {
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &Form) -> Result<T, PaymentError> {
        let request = RequestBuilder::new(StripeMethod::Get, path).query(query);
        let answer = Box::pin(request.customize::<miniserde::json::Value>().send(&self.client));
        read(&answer.await.map_err(classify)?)
    }

    /// Acts once per key, however often it is called.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &Form,
        key: &str,
    ) -> Result<T, PaymentError> {
        let mut tries = 0;
        loop {
            let key = IdempotencyKey::new(key).map_err(|error| PaymentError::Malformed(error.to_string()))?;
            let request = RequestBuilder::new(StripeMethod::Post, path).form(fields);
            let request = request
                .customize::<miniserde::json::Value>()
                .request_strategy(RequestStrategy::Idempotent(key));
            tries += 1;
            match Box::pin(request.send(&self.client)).await {
                Ok(answer) => return read(&answer),
                Err(error) if retry(&error) == Retry::SameKey && tries < ATTEMPTS => {}
                Err(error) => return Err(classify(error)),
            }
        }
    }
}

fn read<T: DeserializeOwned>(answer: &miniserde::json::Value) -> Result<T, PaymentError> {
    serde_json::from_str(&miniserde::json::to_string(answer))
        .map_err(|error| PaymentError::Malformed(error.to_string()))
}

/// Ids become part of an address, so nothing else may pass.
pub(crate) fn plain_id(id: &str) -> Result<&str, PaymentError> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && (1..=255).contains(&id.len()) {
        Ok(id)
    } else {
        Err(PaymentError::Malformed("not the id of an object".to_owned()))
    }
}
