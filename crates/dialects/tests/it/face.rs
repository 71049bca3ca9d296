//! The face to the byte: chunks, usage, errors, and what strict clients get.

use crate::fixture::context;
use dialects::face::openai::{
    DONE, ErrorBody, render_chunk, render_error_body, render_error_chunk, render_usage, render_usage_chunk,
};
use dialects::{Delta, FailureClass, FinishReason, ReasoningDetail, StreamEvent, UpstreamFailure};
use kernel::Usage;

const HEAD: &str = r#"data: {"id":"gen-1763630001-abcdefghijklmnopqrst","object":"chat.completion.chunk","created":1763630001,"model":"author/slug","provider":"Some \"Provider\"","#;
const STRICT: &str = r#"data: {"id":"gen-1763630001-abcdefghijklmnopqrst","object":"chat.completion.chunk","created":1763630001,"model":"author/slug","#;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn thought() -> StreamEvent {
    StreamEvent::Delta(Box::new(Delta {
        reasoning: Some("hm".to_owned()),
        reasoning_details: vec![ReasoningDetail::text("hm", "unknown", 0)],
        ..Delta::default()
    }))
}

#[test]
fn chunks_have_the_members_in_the_order_clients_know() {
    let delta = StreamEvent::Delta(Box::new(Delta {
        role: Some("assistant".to_owned()),
        content: Some("a\"\n".to_owned()),
        ..Delta::default()
    }));
    let expected = r#""choices":[{"index":0,"delta":{"role":"assistant","content":"a\"\n"},"finish_reason":null,"native_finish_reason":null,"logprobs":null}]}"#;
    assert_eq!(text(&render_chunk(&delta, &context()).unwrap()), format!("{HEAD}{expected}\n\n"));
    let expected = r#""choices":[{"index":0,"delta":{"role":"assistant","content":"a\"\n"},"finish_reason":null,"logprobs":null}]}"#;
    assert_eq!(
        text(&render_chunk(&delta, &context().strict(true)).unwrap()),
        format!("{STRICT}{expected}\n\n")
    );
}

#[test]
fn hidden_reasoning_makes_no_chunk_at_all() {
    assert!(text(&render_chunk(&thought(), &context()).unwrap()).contains(r#""reasoning":"hm""#));
    assert!(render_chunk(&thought(), &context().exclude_reasoning(true)).is_none());
    assert!(render_chunk(&thought(), &context().strict(true)).is_none());
}

#[test]
fn a_finish_with_error_is_a_word_that_strict_clients_know() {
    let finish =
        StreamEvent::Finish { choice: 1, reason: FinishReason::Error, native: Some("abort".to_owned()) };
    let expected = r#""choices":[{"index":1,"delta":{"role":"assistant","content":""},"finish_reason":"error","native_finish_reason":"abort","logprobs":null}]}"#;
    assert_eq!(text(&render_chunk(&finish, &context()).unwrap()), format!("{HEAD}{expected}\n\n"));
    let expected = r#""choices":[{"index":1,"delta":{},"finish_reason":"stop","logprobs":null}]}"#;
    assert_eq!(
        text(&render_chunk(&finish, &context().strict(true)).unwrap()),
        format!("{STRICT}{expected}\n\n")
    );
}

#[test]
fn the_usage_chunk_has_no_choices_and_carries_the_cost_digit_by_digit() {
    let usage = Usage {
        prompt: 10,
        completion: 5,
        cache_read: 4,
        cache_write_1h: 2,
        reasoning: 1,
        ..Usage::default()
    };
    let json = render_usage(&usage, &[("cost", "0.000000001"), ("is_byok", "false")]);
    let expected = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":2,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0},"cost":0.000000001,"is_byok":false}"#;
    assert_eq!(json, expected);
    assert_eq!(
        text(&render_usage_chunk(&json, &context())),
        format!("{HEAD}\"choices\":[],\"usage\":{expected}}}\n\n")
    );
    assert_eq!(DONE, b"data: [DONE]\n\n");
}

#[test]
fn errors_have_their_own_shape_in_streams_bodies_and_strict_mode() {
    let failure =
        UpstreamFailure::new(FailureClass::RateLimited, None, Some("slow_down"), "org-1 is too fast");
    let error = ErrorBody::from(&failure).with("provider_name", "P");
    let ours = r#""error":{"code":429,"message":"The provider is limiting the rate of requests.","metadata":{"error_type":"rate_limit_exceeded","provider_code":"slow_down","provider_name":"P"}}"#;
    let choice = r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"error","native_finish_reason":null,"logprobs":null}]"#;
    assert_eq!(text(&render_error_chunk(&error, &context())), format!("{HEAD}{ours},{choice}}}\n\n"));
    assert_eq!(text(&render_error_body(&error, false)), format!("{{{ours}}}"));
    let theirs = r#"{"error":{"message":"The provider is limiting the rate of requests.","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#;
    assert_eq!(text(&render_error_body(&error, true)), theirs);
    assert_eq!(text(&render_error_chunk(&error, &context().strict(true))), format!("data: {theirs}\n\n"));
}

#[test]
fn every_failure_class_has_a_word_and_a_status_for_the_customer() {
    use FailureClass::*;
    let rows = [
        (RateLimited, 429, "rate_limit_exceeded", true, true),
        (Overloaded, 503, "provider_overloaded", true, true),
        (Auth, 502, "provider_unavailable", true, true),
        (Billing, 502, "provider_unavailable", true, true),
        (BadRequest, 400, "invalid_request", false, false),
        (ContextLength, 400, "context_length_exceeded", false, true),
        (ContentPolicy, 400, "content_policy_violation", false, true),
        (NotFound, 502, "provider_unavailable", true, true),
        (TooLarge, 413, "payload_too_large", false, true),
        (Timeout, 504, "timeout", true, true),
        (Server, 502, "provider_unavailable", true, true),
    ];
    for (class, status, word, elsewhere, other_model) in rows {
        let failure = UpstreamFailure::new(class, None, Some("c"), "m");
        assert_eq!((class.http_status(), class.error_type()), (status, word));
        assert_eq!(
            (failure.retryable_elsewhere(), failure.retryable_with_other_model()),
            (elsewhere, other_model)
        );
        // The code of a failure about our own account there is not the customer's to read.
        assert_eq!(ErrorBody::from(&failure).metadata.contains_key("provider_code"), status != 502);
    }
}
