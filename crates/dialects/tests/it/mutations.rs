//! Fixtures with random damage, from a fixed seed: nothing panics, and no cut or path changes the outcome.

use crate::fixture;
use dialects::face::openai::{Passed, Relay, render_chunk};
use dialects::{Dialect, StreamEvent, Target, WireError, parse_chat_request, registry};
use kernel::rng::{Entropy, SeededEntropy};
use serde_json::Value;

/// One to four bytes changed, dropped, doubled or replaced by something that matters in JSON.
fn damaged(original: &[u8], chance: &dyn Entropy) -> Vec<u8> {
    const MATTERS: &[u8] = b"{}[]\",:\\u0-9.en \n\r\xFF\xC3:d";
    let pick = |bound: usize| usize::try_from(chance.below(u64::try_from(bound).unwrap())).unwrap();
    let mut bytes = original.to_vec();
    for _ in 0..=pick(4) {
        let at = pick(bytes.len());
        match pick(4) {
            0 => bytes[at] = MATTERS[pick(MATTERS.len())],
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, MATTERS[pick(MATTERS.len())]),
            _ => bytes[at] ^= 1 << pick(8),
        }
    }
    bytes
}

#[test]
fn damaged_requests_are_refused_or_rendered_but_never_a_panic() {
    let chance = SeededEntropy::new(1);
    let (mut accepted, mut refused) = (0, 0);
    for (dialect, case) in fixture::cases(".request.json") {
        let original = fixture::bytes(dialect, &case, ".request.json");
        let quirks = fixture::quirks(dialect, &case);
        for _ in 0..300 {
            let body = damaged(&original, &chance);
            let Ok(head) = parse_chat_request(&body) else {
                refused += 1;
                continue;
            };
            accepted += 1;
            assert!(head.text_bytes() <= u64::try_from(body.len()).unwrap());
            for dialect in registry::ALL {
                let target =
                    Target { provider_model: "m", max_tokens: Some(9), quirks: &quirks, stream: true };
                if let Ok(wire) = dialect.render_request(&head, &target) {
                    let sent: Value = serde_json::from_slice(&wire.body).unwrap();
                    assert_eq!(sent["model"], "m");
                }
            }
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
}

type Outcome = (Vec<Value>, String, Result<(), WireError>);

fn slow(dialect: &dyn Dialect, pieces: &[&[u8]]) -> (Vec<StreamEvent>, Result<(), WireError>) {
    let mut reader = dialect.stream_reader();
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = reader.push(piece, &mut events) {
            return (events, Err(error));
        }
    }
    let end = reader.finish(&mut events);
    (events, end)
}

fn rendered(events: &[StreamEvent], end: Result<(), WireError>) -> Outcome {
    let (mut out, mut text) = (Vec::new(), String::new());
    for event in events {
        out.extend(render_chunk(event, &fixture::context()).into_iter().flatten());
        if let StreamEvent::Delta(delta) = event {
            delta.append_text(&mut text);
        }
    }
    (fixture::frames(&out), text, end)
}

fn fast(dialect: &dyn Dialect, pieces: &[&[u8]]) -> Outcome {
    let mut relay = Relay::new(dialect, fixture::context());
    let (mut out, mut text) = (Vec::new(), String::new());
    let mut end = Ok(());
    for piece in pieces {
        let mut passed = Passed::default();
        end = relay.push(piece, &mut text, &mut passed);
        out.extend_from_slice(&passed.bytes);
        if end.is_err() {
            break;
        }
    }
    if end.is_ok() {
        let mut passed = Passed::default();
        end = relay.finish(&mut text, &mut passed);
        out.extend_from_slice(&passed.bytes);
    }
    (fixture::frames(&out), text, end)
}

#[test]
fn damaged_streams_end_the_same_at_any_cut_and_on_either_path() {
    let chance = SeededEntropy::new(2);
    for (dialect, case) in fixture::cases(".stream.txt") {
        let original = fixture::bytes(dialect, &case, ".stream.txt");
        for _ in 0..60 {
            let stream = damaged(&original, &chance);
            let (events, end) = slow(dialect, &[&stream]);
            let whole = rendered(&events, end);
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            let pieces: Vec<&[u8]> = stream.chunks(13).collect();
            let (cut, cut_end) = slow(dialect, &bytes);
            assert_eq!(rendered(&cut, cut_end), whole, "{case}: {}", String::from_utf8_lossy(&stream));
            assert_eq!(fast(dialect, &pieces), whole, "{case}: {}", String::from_utf8_lossy(&stream));
        }
    }
}
