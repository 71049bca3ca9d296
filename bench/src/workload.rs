//! What is asked and what is answered: four kinds of requests with prebuilt bytes.
//!
//! Model names carry the kind, so that the mock knows what to answer. The price list of the measured
//! gateway serves them under `bench/…`; the mock hears the bare name.

use bytes::{BufMut as _, BytesMut};
use serde_json::json;

/// Frames of a streamed answer: the role, fifty tokens, the finish, the usage. `[DONE]` is not counted.
pub const FRAMES: u64 = 53;
/// Frames with a token among them; a gateway may join the frames around these.
pub const TOKENS: u64 = 50;
/// Surrounds the stamp in a paced frame's text.
pub const STAMP: u8 = b'@';

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// 1 KB prompt, 1 KB answer.
    Small,
    /// 1 KB prompt, 53 frames sent at once.
    Stream,
    /// 100 KB prompt, 1 KB answer.
    Large,
    /// 1 KB prompt; after 20 ms 53 frames, 10 ms apart, each stamped with its time.
    Paced,
}

impl Workload {
    pub const ALL: [Self; 4] = [Self::Small, Self::Stream, Self::Large, Self::Paced];

    /// The provider's name of the model.
    #[must_use]
    pub fn model(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Stream => "stream",
            Self::Large => "large",
            Self::Paced => "paced",
        }
    }

    #[must_use]
    pub fn streamed(self) -> bool {
        matches!(self, Self::Stream | Self::Paced)
    }

    fn prompt_bytes(self) -> usize {
        if self == Self::Large { 100 * 1024 } else { 1024 }
    }

    /// The JSON body of a request. Small messages of a conversation, because that is what prompts are.
    #[must_use]
    pub fn body(self) -> String {
        const LINE: &str =
            "The quick brown fox jumps over the lazy dog, and \\\"asks\\\" why it should matter.\\n";
        let mut body = format!("{{\"model\":\"bench/{}\",\"max_tokens\":256,", self.model());
        if self.streamed() {
            body.push_str("\"stream\":true,\"stream_options\":{\"include_usage\":true},");
        }
        body.push_str("\"messages\":[{\"role\":\"system\",\"content\":\"You are a benchmark.\"}");
        let mut user = true;
        while body.len() < self.prompt_bytes() {
            let room = (self.prompt_bytes() - body.len()).min(4096);
            let text = LINE.repeat((room / LINE.len()).max(1));
            let role = if user { "user" } else { "assistant" };
            body.push_str(&format!(",{{\"role\":\"{role}\",\"content\":\"{text}\"}}"));
            user = !user;
        }
        body.push_str("]}");
        body
    }

    /// A whole request with its head, ready to be written.
    #[must_use]
    pub fn request(self, host: &str, path: &str, key: &str) -> Vec<u8> {
        let body = self.body();
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\naccept: */*\r\nuser-agent: farebox-bench\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// The whole answer of a request that is not streamed, head and body, about 1 KB.
#[must_use]
pub fn whole_answer(model: &str) -> Vec<u8> {
    let text = "All that glitters is not gold, and all that is fast was measured. ".repeat(10);
    let body = json!({
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000, "model": model,
        "choices": [{ "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": { "role": "assistant", "content": text, "refusal": null } }],
        "usage": usage(),
        "system_fingerprint": "fp_bench",
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

fn usage() -> serde_json::Value {
    json!({
        "prompt_tokens": 250, "completion_tokens": TOKENS, "total_tokens": 250 + TOKENS,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
    })
}

/// The head of a streamed answer.
pub const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
/// The end of a chunked body.
pub const STREAM_END: &[u8] = b"0\r\n\r\n";

/// One frame as a chunk of a chunked body; `text` is the token of the frames that have one.
#[must_use]
pub fn frame(model: &str, index: u64, text: &str) -> Vec<u8> {
    let (choices, usage) = match index {
        0 => (
            json!([{ "index": 0, "delta": { "role": "assistant", "content": "" }, "finish_reason": null }]),
            None,
        ),
        52.. => (json!([]), Some(usage())),
        51 => (json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]), None),
        _ => (json!([{ "index": 0, "delta": { "content": text }, "finish_reason": null }]), None),
    };
    let data = json!({
        "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
        "system_fingerprint": "fp_bench", "choices": choices, "usage": usage,
    });
    chunk(&format!("data: {data}\n\n"))
}

/// The last word of a stream.
#[must_use]
pub fn done() -> Vec<u8> {
    [chunk("data: [DONE]\n\n").as_slice(), STREAM_END].concat()
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// A whole stream in one piece: every frame is a chunk of its own.
#[must_use]
pub fn burst(model: &str) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_slice(STREAM_HEAD);
    for index in 0..FRAMES {
        bytes.put_slice(&frame(model, index, " token"));
    }
    bytes.put_slice(&done());
    bytes.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_about_the_named_size() {
        for (workload, low, high) in
            [(Workload::Small, 900, 1200), (Workload::Stream, 900, 1200), (Workload::Large, 100_000, 104_000)]
        {
            let body = workload.body();
            assert!((low..high).contains(&body.len()), "{workload:?}: {}", body.len());
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(json["model"], format!("bench/{}", workload.model()));
        }
    }

    #[test]
    fn a_burst_has_all_frames_and_a_usage() {
        let text = String::from_utf8(burst("stream")).unwrap();
        assert_eq!(text.matches("data: {").count(), 53);
        assert_eq!(text.matches("\"prompt_tokens\":250").count(), 1);
        assert!(text.ends_with("[DONE]\n\n\r\n0\r\n\r\n"));
    }
}
