//! OpenAI's chat completions, as a wire format: reading requests, rendering answers and errors.
//! Single place that knows the format; what is said comes from `answer`.

mod reply;
mod request;

use actix_web::http::header::HeaderMap;
use serde_json::{Value, json};

use super::ask::Ask;
use super::fault::Fault;
use super::frame;
use super::frame::Frame;
use super::wire::{Reply, Wire};

pub(crate) struct OpenAi;

impl Wire for OpenAi {
    fn request_id_header(&self) -> &'static str {
        "x-request-id"
    }

    fn admit(&self, _: &HeaderMap) -> Result<(), Fault> {
        Ok(())
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

    fn fault(&self, fault: &Fault, _: &str) -> Value {
        let (kind, code) = kind_and_code(fault.status);
        json!({"error": {"message": fault.message, "type": kind, "param": fault.param, "code": code}})
    }

    fn error_frame(&self, fault: &Fault, request_id: &str) -> String {
        frame::data(&self.fault(fault, request_id))
    }

    fn broken_frame(&self) -> &'static str {
        "data: {\"id\":\"chatcmpl-broken\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"bro\n\n"
    }
}

fn kind_and_code(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        402 => ("insufficient_quota", Some("insufficient_quota")),
        403 => ("invalid_request_error", Some("unsupported_country_region_territory")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    }
}
