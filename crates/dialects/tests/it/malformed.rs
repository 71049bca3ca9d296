//! Hostile and mistaken request bodies: each refused with the right kind at the right place.

use dialects::parse_chat_request;

/// A valid request with one more top-level member.
fn with(member: &str) -> String {
    format!(r#"{{"model":"a/b","messages":[{{"role":"user","content":"x"}}],{member}}}"#)
}

/// A request with these messages.
fn messages(messages: &str) -> String {
    format!(r#"{{"model":"a/b","messages":{messages}}}"#)
}

/// A user message with this one part.
fn part(part: &str) -> String {
    messages(&format!(r#"[{{"role":"user","content":[{part}]}}]"#))
}

fn refusal(body: &[u8]) -> (String, &'static str) {
    match parse_chat_request(body) {
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(body)),
        Err(error) => (error.path.clone(), error.kind.code()),
    }
}

#[test]
fn documents_that_are_no_requests_are_refused() {
    let rows: &[(&[u8], &str, &str)] = &[
        (b"", "", "syntax"),
        (b" ", "", "syntax"),
        (b"{", "", "syntax"),
        (b"{}}", "", "syntax"),
        (b"{\"messages\":[}", "", "syntax"),
        (b"{\"a\":1,}", "", "syntax"),
        (b"{'a':1}", "", "syntax"),
        (b"{\"a\":01}", "", "syntax"),
        (b"{\"a\":+1}", "", "syntax"),
        (b"{\"a\":NaN}", "", "syntax"),
        (b"{\"a\":1.}", "", "syntax"),
        (b"{\"a\":tru}", "", "syntax"),
        (b"{\"a\":\"\n\"}", "", "syntax"),
        (b"{\"a\":\"\\x\"}", "", "syntax"),
        (b"{\"a\":\"\\u12\"}", "", "syntax"),
        (b"{\"a\" 1}", "", "syntax"),
        (b"{1:1}", "", "syntax"),
        (b"// no\n{}", "", "syntax"),
        (b"null", "", "wrong_type"),
        (b"[]", "", "wrong_type"),
        (b"7", "", "wrong_type"),
        (b"\"text\"", "", "wrong_type"),
        (b"true", "", "wrong_type"),
        (b"\xFF", "", "not_utf8"),
        (b"{\"model\":\"\xC3\x28\"}", "", "not_utf8"),
        (b"{\"model\":\"\xED\xA0\x80\"}", "", "not_utf8"),
        (b"{}", "messages", "missing"),
        (b"{\"messages\":null}", "messages", "missing"),
        (b"{\"model\":\"m\",\"model\":\"n\",\"messages\":[]}", "", "duplicate_key"),
        (b"{\"stream\":true,\"str\\u0065am\":false}", "", "duplicate_key"),
    ];
    for (body, path, kind) in rows {
        assert_eq!(refusal(body), ((*path).to_owned(), *kind), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn fields_of_the_wrong_kind_or_size_are_refused() {
    let rows = [
        (r#""max_tokens":0"#, "max_tokens", "out_of_range"),
        (r#""max_tokens":-1"#, "max_tokens", "out_of_range"),
        (r#""max_tokens":4294967296"#, "max_tokens", "out_of_range"),
        (r#""max_tokens":99999999999999999999999999"#, "max_tokens", "out_of_range"),
        (r#""max_tokens":1e3"#, "max_tokens", "wrong_type"),
        (r#""max_tokens":1.5"#, "max_tokens", "wrong_type"),
        (r#""max_tokens":"5""#, "max_tokens", "wrong_type"),
        (r#""max_completion_tokens":0"#, "max_completion_tokens", "out_of_range"),
        (r#""n":0"#, "n", "out_of_range"),
        (r#""n":129"#, "n", "out_of_range"),
        (r#""n":true"#, "n", "wrong_type"),
        (r#""temperature":2.01"#, "temperature", "out_of_range"),
        (r#""temperature":-0.1"#, "temperature", "out_of_range"),
        (r#""temperature":1e999"#, "temperature", "out_of_range"),
        (r#""temperature":"warm""#, "temperature", "wrong_type"),
        (r#""top_p":1.1"#, "top_p", "out_of_range"),
        (r#""min_p":2"#, "min_p", "out_of_range"),
        (r#""top_k":-1"#, "top_k", "out_of_range"),
        (r#""presence_penalty":-2.5"#, "presence_penalty", "out_of_range"),
        (r#""seed":9223372036854775808"#, "seed", "out_of_range"),
        (r#""seed":0.5"#, "seed", "wrong_type"),
        (r#""top_logprobs":21"#, "top_logprobs", "out_of_range"),
        (r#""logprobs":1"#, "logprobs", "wrong_type"),
        (r#""stream":"true""#, "stream", "wrong_type"),
        (r#""stream_options":[]"#, "stream_options", "wrong_type"),
        (r#""stop":5"#, "stop", "wrong_type"),
        (r#""stop":["a",5]"#, "stop[1]", "wrong_type"),
        (r#""models":"a/b""#, "models", "wrong_type"),
        (r#""models":[null]"#, "models[0]", "wrong_type"),
        (r#""provider":"openai""#, "provider", "wrong_type"),
        (r#""user":{}"#, "user", "wrong_type"),
        (r#""tools":{}"#, "tools", "wrong_type"),
        (r#""tools":[5]"#, "tools[0]", "wrong_type"),
        (r#""tools":[{}]"#, "tools[0].type", "missing"),
        (r#""tools":[{"type":"function"}]"#, "tools[0].function", "missing"),
        (r#""tools":[{"type":"function","function":{}}]"#, "tools[0].function.name", "missing"),
        (
            r#""tools":[{"type":"function","function":{"name":"f","parameters":[]}}]"#,
            "tools[0].function.parameters",
            "wrong_type",
        ),
        (r#""tools":[{"type":"function","type":"x"}]"#, "tools[0]", "duplicate_key"),
        (r#""tool_choice":"maybe""#, "tool_choice", "unknown_value"),
        (r#""tool_choice":1"#, "tool_choice", "wrong_type"),
        (r#""response_format":"json""#, "response_format", "wrong_type"),
        (r#""response_format":{}"#, "response_format.type", "missing"),
        (r#""response_format":{"type":"json_schema"}"#, "response_format.json_schema", "missing"),
        (r#""reasoning":true"#, "reasoning", "wrong_type"),
        (r#""reasoning":{"effort":"huge"}"#, "reasoning.effort", "unknown_value"),
        (r#""reasoning":{"max_tokens":-1}"#, "reasoning.max_tokens", "out_of_range"),
        (r#""reasoning":{"exclude":"no"}"#, "reasoning.exclude", "wrong_type"),
        (r#""reasoning_effort":"huge""#, "reasoning_effort", "unknown_value"),
        (r#""verbosity":"loud""#, "verbosity", "unknown_value"),
        (r#""metadata":"x""#, "metadata", "wrong_type"),
    ];
    for (member, path, kind) in rows {
        assert_eq!(refusal(with(member).as_bytes()), (path.to_owned(), kind), "{member}");
    }
    let long = with(&format!(r#""session_id":"{}""#, "é".repeat(129)));
    assert_eq!(refusal(long.as_bytes()), ("session_id".to_owned(), "out_of_range"));
    assert_eq!(refusal(br#"{"model":5,"messages":[{"role":"user","content":"x"}]}"#).0, "model");
}

#[test]
fn messages_of_the_wrong_shape_are_refused_with_their_place() {
    let rows = [
        (messages("{}"), "messages", "wrong_type"),
        (messages("\"hi\""), "messages", "wrong_type"),
        (messages("[]"), "messages", "out_of_range"),
        (messages("[null]"), "messages[0]", "wrong_type"),
        (messages("[\"hi\"]"), "messages[0]", "wrong_type"),
        (messages("[{}]"), "messages[0].role", "missing"),
        (messages(r#"[{"role":7}]"#), "messages[0].role", "wrong_type"),
        (messages(r#"[{"role":"robot","content":"x"}]"#), "messages[0].role", "unknown_value"),
        (messages(r#"[{"role":"user"}]"#), "messages[0].content", "missing"),
        (messages(r#"[{"role":"user","content":null}]"#), "messages[0].content", "missing"),
        (messages(r#"[{"role":"user","content":5}]"#), "messages[0].content", "wrong_type"),
        (messages(r#"[{"role":"user","content":{"type":"text"}}]"#), "messages[0].content", "wrong_type"),
        (messages(r#"[{"role":"user","content":"a","content":"b"}]"#), "messages[0]", "duplicate_key"),
        (
            messages(r#"[{"role":"user","content":"x"},{"role":"tool","content":"x"}]"#),
            "messages[1].tool_call_id",
            "missing",
        ),
        (messages(r#"[{"role":"assistant","tool_calls":{}}]"#), "messages[0].tool_calls", "wrong_type"),
        (messages(r#"[{"role":"assistant","tool_calls":[{}]}]"#), "messages[0].tool_calls[0].id", "missing"),
        (
            messages(r#"[{"role":"assistant","tool_calls":[{"id":"a"}]}]"#),
            "messages[0].tool_calls[0].function",
            "missing",
        ),
        (
            messages(
                r#"[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{}}}]}]"#,
            ),
            "messages[0].tool_calls[0].function.arguments",
            "wrong_type",
        ),
        (
            messages(r#"[{"role":"assistant","reasoning_details":[{"text":"x"}]}]"#),
            "messages[0].reasoning_details[0].type",
            "missing",
        ),
        (
            messages(r#"[{"role":"assistant","content":"x","reasoning":5}]"#),
            "messages[0].reasoning",
            "wrong_type",
        ),
        (part("5"), "messages[0].content[0]", "wrong_type"),
        (part("{}"), "messages[0].content[0].type", "missing"),
        (part(r#"{"type":"hologram"}"#), "messages[0].content[0].type", "unknown_value"),
        (part(r#"{"type":"text"}"#), "messages[0].content[0].text", "missing"),
        (part(r#"{"type":"text","text":["x"]}"#), "messages[0].content[0].text", "wrong_type"),
        (part(r#"{"type":"text","text":"a","text":"b"}"#), "messages[0].content[0]", "duplicate_key"),
        (
            part(r#"{"type":"image_url","image_url":"https://x"}"#),
            "messages[0].content[0].image_url",
            "wrong_type",
        ),
        (part(r#"{"type":"image_url","image_url":{}}"#), "messages[0].content[0].image_url.url", "missing"),
        (
            part(r#"{"type":"input_audio","input_audio":{}}"#),
            "messages[0].content[0].input_audio.data",
            "missing",
        ),
        (part(r#"{"type":"file"}"#), "messages[0].content[0].file", "missing"),
        (part(r#"{"type":"text","text":"\ud800"}"#), "", "syntax"),
        (part(r#"{"type":"text","text":"\udc00\ud800"}"#), "", "syntax"),
    ];
    for (body, path, kind) in rows {
        assert_eq!(refusal(body.as_bytes()), (path.to_owned(), kind), "{body}");
    }
}

#[test]
fn nesting_ends_at_128_levels_and_never_on_the_stack() {
    let nested = |levels: usize| with(&format!("\"deep\":{}{}", "[".repeat(levels), "]".repeat(levels)));
    assert!(parse_chat_request(nested(127).as_bytes()).is_ok());
    assert_eq!(refusal(nested(128).as_bytes()).1, "too_deep");
    assert_eq!(refusal(nested(1_000_000).as_bytes()).1, "too_deep");
    let objects = with(&format!("\"tools\":[{}1{}]", "{\"a\":".repeat(100_000), "}".repeat(100_000)));
    assert_eq!(refusal(objects.as_bytes()).1, "too_deep");
    assert_eq!(refusal("[".repeat(1_000_000).as_bytes()).1, "syntax");
}

#[test]
fn the_whole_tree_of_an_accepted_request_can_be_built_or_names_its_fault() {
    let deep = with(&format!("\"deep\":{}{}", "[".repeat(127), "]".repeat(127)));
    assert!(parse_chat_request(deep.as_bytes()).unwrap().to_request().is_ok());
    let huge =
        messages(r#"[{"role":"assistant","content":"x","reasoning_details":[{"type":"t","n":1e999}]}]"#);
    let error = parse_chat_request(huge.as_bytes()).unwrap().to_request().unwrap_err();
    assert_eq!(error.path, "messages[0].reasoning_details[0]");
}

#[test]
fn hostile_sizes_are_refused_in_bounded_memory() {
    let members: String = (0..5000).map(|i| format!("\"k{i}\":0,")).collect();
    assert_eq!(refusal(with(&format!("{members}\"z\":0")).as_bytes()).1, "out_of_range");
    let many = messages(&format!("[{}1]", "1,".repeat(1_000_000)));
    assert_eq!(refusal(many.as_bytes()), ("messages[0]".to_owned(), "wrong_type"));
}

#[test]
fn an_error_says_what_was_expected_and_what_came() {
    let say = |body: String| parse_chat_request(body.as_bytes()).unwrap_err().to_string();
    assert_eq!(say(with(r#""n":"2""#)), "n: expected an integer, got a string");
    assert_eq!(say(with(r#""n":500"#)), "n: expected an integer from 1 to 128, got 500");
    assert_eq!(say(messages(r#"[{"role":"user"}]"#)), "messages[0].content: required, but missing");
    assert_eq!(say("{\n  \"a\": }".to_owned()), "invalid JSON at line 2, column 8: expected value");
    assert_eq!(
        say("{\"a\":\n \"\\ud800\"}".to_owned()),
        "invalid JSON at line 2, column 3: lone surrogate in a string"
    );
}
