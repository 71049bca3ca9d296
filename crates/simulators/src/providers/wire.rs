//! What a wire format must be able to say. One implementation per format; none decides what is said.

use actix_web::http::header::HeaderMap;
use serde_json::Value;

use super::answer::Answer;
use super::ask::Ask;
use super::fault::Fault;
use super::frame::Frame;
use super::script::Script;

/// Everything a rendering needs.
pub(crate) struct Reply<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) script: &'a Script,
    pub(crate) answer: &'a Answer,
    /// Random text that makes ids unique.
    pub(crate) unique: &'a str,
    /// Unix seconds.
    pub(crate) created: i64,
}

pub(crate) trait Wire {
    /// The response header that carries the request id.
    fn request_id_header(&self) -> &'static str;
    /// Refuses requests whose headers the real service would refuse.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Fault>;
    fn read(&self, body: &Value) -> Result<Ask, Fault>;
    fn whole(&self, reply: &Reply<'_>) -> Value;
    fn frames(&self, reply: &Reply<'_>) -> Vec<Frame>;
    fn fault(&self, fault: &Fault, request_id: &str) -> Value;
    /// An error in the middle of a stream, as a frame.
    fn error_frame(&self, fault: &Fault, request_id: &str) -> String;
    /// A frame that no parser should accept.
    fn broken_frame(&self) -> &'static str;
}
