//! Anthropic's Messages, as a wire format: reading requests, rendering answers and errors.
//! Single place that knows the format; what is said comes from `answer`.

mod reply;
mod request;

use actix_web::http::header::HeaderMap;
use serde_json::{Value, json};

use super::ask::Ask;
use super::fault::Fault;
use super::frame::{self, Frame};
use super::wire::{Reply, Wire};

pub(crate) struct Anthropic;

impl Wire for Anthropic {
    fn request_id_header(&self) -> &'static str {
        "request-id"
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Fault> {
        match headers.contains_key("anthropic-version") {
            true => Ok(()),
            false => Err(Fault::new(400, "anthropic-version: header is required")),
        }
    }

    fn read(&self, body: &Value) -> Result<Ask, Fault> {
        request::read(body)
    }

    fn whole(&self, reply: &Reply<'_>) -> Value {
        reply::whole(reply)
    }

    fn frames(&self, reply: &Reply<'_>) -> Vec<Frame> {
        reply::frames(reply)
    }

    fn fault(&self, fault: &Fault, request_id: &str) -> Value {
        let message = match fault.param {
            Some(param) => format!("{param}: {}", fault.message),
            None => fault.message.clone(),
        };
        json!({
            "type": "error",
            "error": {"type": kind(fault.status), "message": message},
            "request_id": request_id,
        })
    }

    fn error_frame(&self, fault: &Fault, request_id: &str) -> String {
        frame::event("error", &self.fault(fault, request_id))
    }

    fn broken_frame(&self) -> &'static str {
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"te\n\n"
    }
}

/// Anthropic's error types by status.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}
