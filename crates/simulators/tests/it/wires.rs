//! Healthy answers in both wire formats: frames, tools, schemas, thinking, usage, refusals.

use serde_json::{Value, json};

use crate::harness::{Models, events, scripted};

/// Joins one text field of all chunks.
fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer).and_then(Value::as_str)).collect()
}

#[tokio::test]
async fn an_openai_stream_has_role_content_finish_usage_and_done_in_that_order() {
    let models = Models::start();
    let plain: Value = models.chat(json!({})).await.json().await.unwrap();
    let response = models.chat(json!({"stream": true, "stream_options": {"include_usage": true}})).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let events = events(&response.text().await.unwrap());
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(joined(&events, "/choices/0/delta/content"), plain["choices"][0]["message"]["content"]);
    let [finish, usage, done] = events.last_chunk().unwrap();
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!((&usage["usage"], &usage["choices"]), (&plain["usage"], &json!([])));
    assert_eq!(done, "[DONE]");
    assert!(events[..events.len() - 2].iter().all(|chunk| chunk["usage"].is_null()));
    assert!(events[..events.len() - 1].iter().all(|chunk| chunk["id"] == events[0]["id"]));
}

#[tokio::test]
async fn openai_usage_is_streamed_only_when_asked_for() {
    let models = Models::start();
    let events = events(&models.chat(json!({"stream": true})).await.text().await.unwrap());
    assert!(events.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[tokio::test]
async fn prompt_tokens_follow_the_documented_formula() {
    let models = Models::start();
    let image = |detail| json!({"type": "image_url", "image_url": {"url": "data:,", "detail": detail}});
    let parts = json!([{"type": "text", "text": "Hello there"}, image("low"), image("high")]);
    let cases = [
        // "Hello there" is two tokens: 4 + 2 + 3.
        (json!([{"role": "user", "content": "Hello there"}]), 9),
        (json!([{"role": "system", "content": "Hello"}, {"role": "user", "content": "Hello there"}]), 14),
        (json!([{"role": "user", "content": parts}]), 9 + 85 + 765),
    ];
    for (messages, expected) in cases {
        let body: Value = models.chat(json!({"messages": messages})).await.json().await.unwrap();
        assert_eq!(body["usage"]["prompt_tokens"], expected, "{messages}");
    }
}

#[tokio::test]
async fn an_anthropic_stream_has_its_events_in_order() {
    let models = Models::start();
    let script = scripted(json!({"text": "one two", "chunks": 2}));
    let extra =
        json!({"stream": true, "messages": script, "thinking": {"type": "enabled", "budget_tokens": 1024}});
    let text = models.message(extra).await.text().await.unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let expected = [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    let events = events(&text);
    assert_eq!(events.iter().map(|event| event["type"].as_str().unwrap()).collect::<Vec<_>>(), expected);
    assert_eq!(joined(&events, "/delta/text"), "one two");
    assert!(!joined(&events, "/delta/signature").is_empty());
    let (start, end) = (&events[0]["message"]["usage"], &events[11]["usage"]);
    assert_eq!(start["input_tokens"], end["input_tokens"]);
    assert!(end["output_tokens"].as_u64() > start["output_tokens"].as_u64());
}

#[tokio::test]
async fn a_forced_tool_is_called_with_arguments_of_its_schema() {
    let models = Models::start();
    let schema =
        json!({"type": "object", "properties": {"unit": {"enum": ["c", "f"]}, "days": {"type": "integer"}}});
    let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]);
    let extra = json!({"tools": tools, "tool_choice": "required", "stream": true});
    let events = events(&models.chat(extra).await.text().await.unwrap());
    let arguments = joined(&events, "/choices/0/delta/tool_calls/0/function/arguments");
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({"unit": "c", "days": 1}));
    assert_eq!(joined(&events, "/choices/0/finish_reason"), "tool_calls");

    let tools = json!([{"name": "get_weather", "input_schema": schema}]);
    let extra = json!({"tools": tools, "messages": [{"role": "user", "content": "weather?"}]});
    let body: Value = models.message(extra).await.json().await.unwrap();
    assert_eq!(body["content"][0]["input"], json!({"unit": "c", "days": 1}));
    assert_eq!(body["stop_reason"], "tool_use");
}

#[tokio::test]
async fn a_json_schema_is_answered_with_a_value_of_it() {
    let models = Models::start();
    let schema =
        json!({"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let body: Value = models.chat(json!({"response_format": format})).await.json().await.unwrap();
    assert_eq!(body["choices"][0]["message"]["content"], r#"{"tags":["simulated"]}"#);
}

#[tokio::test]
async fn limits_and_stops_end_answers_in_each_formats_words() {
    let models = Models::start();
    let cut: Value = models.chat(json!({"max_tokens": 3})).await.json().await.unwrap();
    assert_eq!(cut["choices"][0]["finish_reason"], "length");
    assert_eq!(cut["usage"]["completion_tokens"], 3);
    let cut: Value = models.message(json!({"max_tokens": 3})).await.json().await.unwrap();
    assert_eq!((&cut["stop_reason"], &cut["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(3)));
    let stopped: Value =
        models.message(json!({"stop_sequences": [" simulated"]})).await.json().await.unwrap();
    assert_eq!(stopped["content"][0]["text"], "This is a");
    assert_eq!(
        (&stopped["stop_reason"], &stopped["stop_sequence"]),
        (&json!("stop_sequence"), &json!(" simulated"))
    );
}

#[tokio::test]
async fn marked_prompts_are_written_to_the_cache_once_and_then_read() {
    let models = Models::start();
    let system =
        json!([{"type": "text", "text": "word ".repeat(1_200), "cache_control": {"type": "ephemeral"}}]);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let body: Value = models.message(json!({"system": system})).await.json().await.unwrap();
        let figure = |name: &str| body["usage"][name].as_u64().unwrap();
        seen.push((
            figure("cache_creation_input_tokens"),
            figure("cache_read_input_tokens"),
            figure("input_tokens"),
        ));
    }
    let (written, fresh) = (seen[0].0, seen[0].2);
    assert!(written >= 1_024);
    assert_eq!(seen, [(written, 0, fresh), (0, written, fresh)]);
}

#[tokio::test]
async fn faulty_requests_are_refused_as_the_real_services_do() {
    let models = Models::start();
    let post = |path: &str| models.client.post(models.url(path)).json(&json!({"model": "m"}));
    let chat = "/acme/v1/chat/completions";
    let cases = [
        (post(chat), 401, "/error/code", "invalid_api_key"),
        (post(chat).bearer_auth("k"), 400, "/error/param", "messages"),
        (post("/ant/v1/messages"), 401, "/error/type", "authentication_error"),
        (post("/ant/v1/messages").header("x-api-key", "k"), 400, "/error/type", "invalid_request_error"),
    ];
    for (request, status, pointer, expected) in cases {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body.pointer(pointer).unwrap(), expected, "{body}");
    }
    let misspelled = models.chat(json!({"messages": scripted(json!({"latency": 1}))})).await;
    assert_eq!(misspelled.status(), 400);
}

#[tokio::test]
async fn local_providers_ask_for_no_key() {
    let models = Models::start();
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let request = models.client.post(models.url("/ollama/v1/chat/completions")).json(&body);
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_journal_keeps_what_was_asked_but_no_credential() {
    let models = Models::start();
    let body: Value = models.chat(json!({"temperature": 1})).await.json().await.unwrap();
    let entry = models.ended("acme").await.remove(0);
    assert_eq!(entry["body"]["temperature"], 1);
    assert_eq!(entry["text_sent"], body["choices"][0]["message"]["content"]);
    assert_eq!((&entry["finished"], &entry["status"]), (&json!("completed"), &json!(200)));
    // The first six bytes of the key's SHA-256.
    assert_eq!(entry["credential"].as_str().unwrap().len(), 12);
    assert!(!entry.to_string().contains("sk-one"));
}
