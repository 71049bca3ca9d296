//! Bodies that no client should send: broken syntax, and sound JSON that says nothing the API understands.

use crate::malformed::MODEL;
use serde_json::{Value, json};

type Body = (&'static str, Vec<u8>);
/// What is wrong, in which member, and its value.
type Row = (&'static str, &'static str, Value);

/// Bodies that are no JSON, or no JSON that may be read at all.
pub(crate) fn broken_syntax() -> Vec<Body> {
    let sound =
        format!("{{\"model\": \"{MODEL}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hi\"}}]");
    let inside = |content: &str| {
        format!("{{\"model\": \"{MODEL}\", \"messages\": [{{\"role\": \"user\", \"content\": {content}}}]}}")
    };
    let deep = |open: &str, close: &str, levels: usize| {
        inside(&format!("{}{}", open.repeat(levels), close.repeat(levels)))
    };
    let texts: Vec<(&'static str, String)> = vec![
        ("nothing", String::new()),
        ("spaces", "   \n\t ".to_owned()),
        ("one brace", "{".to_owned()),
        ("unclosed", sound.clone()),
        ("unclosed list", sound.trim_end_matches(']').to_owned()),
        ("closed twice", format!("{sound}}}}}")),
        ("rubbish behind", format!("{sound}}} rubbish")),
        ("two bodies", format!("{sound}}}{sound}}}")),
        ("a comma too many", format!("{sound},}}")),
        ("a comma too few", sound.replacen(", ", " ", 1) + "}"),
        ("a colon too few", sound.replacen(": ", " ", 1) + "}"),
        ("a key without a value", "{\"model\": }".to_owned()),
        ("single quotes", "{'model': 'x'}".to_owned()),
        ("bare keys", "{model: \"x\"}".to_owned()),
        ("a comment", format!("// hello\n{sound}}}")),
        ("a comment inside", format!("{sound} /* hello */}}")),
        ("plain text", "Hello, model!".to_owned()),
        ("a form", "model=x&messages=y".to_owned()),
        ("XML", "<model>x</model>".to_owned()),
        ("NaN", format!("{sound}, \"temperature\": NaN}}")),
        ("Infinity", format!("{sound}, \"temperature\": -Infinity}}")),
        ("a leading zero", format!("{sound}, \"max_tokens\": 010}}")),
        ("a leading plus", format!("{sound}, \"max_tokens\": +10}}")),
        ("hexadecimal", format!("{sound}, \"max_tokens\": 0x10}}")),
        ("a point without digits", format!("{sound}, \"temperature\": 1.}}")),
        ("an exponent without digits", format!("{sound}, \"temperature\": 1e}}")),
        ("True", format!("{sound}, \"stream\": True}}")),
        ("undefined", format!("{sound}, \"stream\": undefined}}")),
        ("a line break in a text", inside("\"a\nb\"")),
        ("a control character in a text", inside("\"a\u{1}b\"")),
        ("a NUL in a text", inside("\"a\0b\"")),
        ("an unknown escape", inside("\"\\q\"")),
        ("half an escape", inside("\"\\u12\"")),
        ("an unclosed text", inside("\"hello")),
        ("lists nested 200 deep", deep("[", "]", 200)),
        ("lists nested 100,000 deep", deep("[", "]", 100_000)),
        ("objects nested 200 deep", inside(&format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200)))),
        ("unclosed nesting", "[".repeat(100_000)),
    ];
    let mut bodies: Vec<Body> = texts.into_iter().map(|(what, text)| (what, text.into_bytes())).collect();
    let utf16: Vec<u8> = format!("{sound}}}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    bodies.push(("UTF-16", utf16));
    bodies.push(("Latin-1", inside("\"caf?\"").bytes().map(|b| if b == b'?' { 0xe9 } else { b }).collect()));
    bodies.push(("overlong UTF-8", [b"{\"model\": \"\xc0\xaf".as_slice(), b"\"}"].concat()));
    bodies.push(("a surrogate in UTF-8", [b"{\"model\": \"\xed\xa0\x80".as_slice(), b"\"}"].concat()));
    bodies.push(("compressed", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0x56, 0xca, 0xcd]));
    bodies
}

/// A sound request with one member changed.
fn changed(name: &str, value: Value) -> Vec<u8> {
    let mut body =
        json!({ "model": MODEL, "max_tokens": 10, "messages": [{ "role": "user", "content": "Hi" }] });
    body[name] = value;
    body.to_string().into_bytes()
}

/// JSON whose types, names or sizes are wrong.
pub(crate) fn wrong_words() -> Vec<Body> {
    let mut bodies: Vec<Body> = [
        ("null", "null"),
        ("a list", "[]"),
        ("a text", "\"hello\""),
        ("a number", "7"),
        ("true", "true"),
        ("an empty object", "{}"),
    ]
    .map(|(what, text)| (what, text.as_bytes().to_vec()))
    .to_vec();
    bodies.push(("messages missing", json!({ "model": MODEL }).to_string().into_bytes()));
    bodies.push((
        "model missing",
        json!({ "messages": [{ "role": "user", "content": "Hi" }] }).to_string().into_bytes(),
    ));
    let twice = format!(
        "{{\"model\": \"{MODEL}\", \"model\": \"{MODEL}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hi\"}}]}}"
    );
    bodies.push(("model twice", twice.into_bytes()));
    let rows = wrong_models().into_iter().chain(wrong_messages()).chain(wrong_settings());
    bodies.extend(rows.map(|(what, name, value)| (what, changed(name, value))));
    bodies
}

/// Models that cannot be asked for.
fn wrong_models() -> Vec<Row> {
    vec![
        ("model a number", "model", json!(5)),
        ("model null", "model", Value::Null),
        ("model empty", "model", json!("")),
        ("model a list", "model", json!([MODEL])),
        ("model unknown", "model", json!("nobody/nothing")),
        ("model without author", "model", json!("/")),
        ("model with an unknown variant", "model", json!(format!("{MODEL}:sideways"))),
        ("model very long", "model", json!("x".repeat(100_000))),
        ("model with a line break", "model", json!("a/b\nc")),
        ("models no list", "models", json!("x/y")),
        ("models of numbers", "models", json!([1, 2])),
        ("models unknown", "models", json!(["nobody/nothing"])),
    ]
}

/// Conversations that nobody can have.
fn wrong_messages() -> Vec<Row> {
    vec![
        ("messages null", "messages", Value::Null),
        ("messages a text", "messages", json!("Hi")),
        ("messages an object", "messages", json!({ "role": "user", "content": "Hi" })),
        ("messages empty", "messages", json!([])),
        ("messages of null", "messages", json!([null])),
        ("messages of texts", "messages", json!(["Hi"])),
        ("a message without role", "messages", json!([{ "content": "Hi" }])),
        ("a message of an unknown role", "messages", json!([{ "role": "wizard", "content": "Hi" }])),
        ("a role that is a number", "messages", json!([{ "role": 1, "content": "Hi" }])),
        ("content a number", "messages", json!([{ "role": "user", "content": 5 }])),
        ("content an object", "messages", json!([{ "role": "user", "content": { "text": "Hi" } }])),
        ("content of numbers", "messages", json!([{ "role": "user", "content": [1] }])),
        ("a part without type", "messages", json!([{ "role": "user", "content": [{ "text": "Hi" }] }])),
        (
            "a part of an unknown type",
            "messages",
            json!([{ "role": "user", "content": [{ "type": "smell" }] }]),
        ),
        (
            "a text part without text",
            "messages",
            json!([{ "role": "user", "content": [{ "type": "text" }] }]),
        ),
        (
            "an image without address",
            "messages",
            json!([{ "role": "user", "content": [{ "type": "image_url" }] }]),
        ),
        ("a tool's answer without id", "messages", json!([{ "role": "tool", "content": "Hi" }])),
        ("tool calls no list", "messages", json!([{ "role": "assistant", "tool_calls": "x" }])),
    ]
}

/// Everything else in a request.
fn wrong_settings() -> Vec<Row> {
    vec![
        ("stream a text", "stream", json!("yes")),
        ("stream a number", "stream", json!(1)),
        ("max_tokens a text", "max_tokens", json!("ten")),
        ("max_tokens negative", "max_tokens", json!(-1)),
        ("max_tokens a fraction", "max_tokens", json!(1.5)),
        ("max_tokens huge", "max_tokens", json!(1e30)),
        ("n zero", "n", json!(0)),
        ("n negative", "n", json!(-1)),
        ("n huge", "n", json!(100_000)),
        ("n a text", "n", json!("two")),
        ("temperature a text", "temperature", json!("hot")),
        ("temperature a list", "temperature", json!([])),
        ("top_p an object", "top_p", json!({})),
        ("stop a number", "stop", json!(3)),
        ("tools an object", "tools", json!({})),
        ("tools of texts", "tools", json!(["get_weather"])),
        ("a tool without function", "tools", json!([{ "type": "function" }])),
        ("tool_choice a number", "tool_choice", json!(4)),
        ("response_format a text", "response_format", json!("json")),
        ("provider a text", "provider", json!("groq")),
        ("provider a list", "provider", json!(["groq"])),
        ("provider with an unknown field", "provider", json!({ "favorite": "groq" })),
        ("provider.order a text", "provider", json!({ "order": "groq" })),
        ("provider.only of numbers", "provider", json!({ "only": [1] })),
        ("provider.sort unknown", "provider", json!({ "sort": "color" })),
        ("provider.allow_fallbacks a text", "provider", json!({ "allow_fallbacks": "no" })),
        ("provider.max_price a text", "provider", json!({ "max_price": "cheap" })),
        ("provider.only nobody", "provider", json!({ "only": ["nobody"] })),
        ("everybody ignored", "provider", json!({ "only": ["groq"], "ignore": ["groq"] })),
        ("nobody is so cheap", "provider", json!({ "max_price": { "prompt": 0.000_000_1 } })),
        (
            "a prompt that fits nobody",
            "messages",
            json!([{ "role": "user", "content": "word ".repeat(1_000_000) }]),
        ),
    ]
}
