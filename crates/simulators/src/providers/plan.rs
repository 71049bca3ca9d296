//! From frames and a script to the steps of playing them: pauses, faults, torn writes.
//! Pure; `play` takes the steps to the network.

use std::time::Duration;

use bytes::Bytes;

use super::frame::Frame;
use super::script::{Script, Split};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Wait(Duration),
    /// Bytes for the network. `content` and `text` say what is complete once they are out.
    Send {
        bytes: Bytes,
        content: bool,
        text: String,
    },
    /// Lets what was sent leave before anything else happens.
    Breathe,
    /// Drops the connection.
    Cut,
    /// Silence until the client leaves.
    Stall,
}

/// What a fault puts on the wire.
pub(crate) struct Breakage {
    pub(crate) broken: String,
    pub(crate) error: String,
}

/// The steps of a streamed answer. A fault set later than the last content frame happens after that frame.
pub(crate) fn stream(frames: Vec<Frame>, script: &Script, breakage: &Breakage) -> Vec<Step> {
    let total = frames.iter().filter(|frame| frame.content).count();
    let mut steps = waiting(script.first_token_ms);
    let mut seen = 0;
    let mut begun = false;
    for frame in frames {
        if !begun && (frame.content || total == 0) {
            begun = true;
            if faults(&mut steps, script, breakage, 0, total) {
                return steps;
            }
        }
        let content = frame.content;
        if content && seen > 0 {
            steps.extend(waiting(script.chunk_delay_ms));
        }
        send(&mut steps, frame, script.split);
        if content {
            seen += 1;
            if faults(&mut steps, script, breakage, seen, total) {
                return steps;
            }
        }
    }
    steps
}

/// The length that the head of an unstreamed answer announces, and the steps of its body.
/// Faults that end a stream after some frames end a body in its middle.
pub(crate) fn whole(body: String, text: &str, script: &Script, breakage: &Breakage) -> (u64, Vec<Step>) {
    let body = match (script.error_after_chunks, script.malformed_after_chunks) {
        (Some(_), _) => breakage.error.clone(),
        (None, Some(_)) => body.chars().take(body.chars().count() / 2).collect(),
        (None, None) => body,
    };
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let mut steps = waiting(script.first_token_ms);
    let end = match (script.stall_after_chunks, script.cut_after_chunks) {
        (Some(_), _) => Some(Step::Stall),
        (None, Some(_)) => Some(Step::Cut),
        (None, None) => None,
    };
    match end {
        Some(end) => {
            let half = Bytes::from(body).split_to(usize::try_from(size / 2).unwrap_or(0));
            steps.extend([
                Step::Send { bytes: half, content: false, text: String::new() },
                Step::Breathe,
                end,
            ]);
        }
        None => send(&mut steps, Frame::content(body, text), script.split),
    }
    (size, steps)
}

fn waiting(millis: u64) -> Vec<Step> {
    match millis {
        0 => Vec::new(),
        millis => vec![Step::Wait(Duration::from_millis(millis))],
    }
}

/// Adds the faults due after `seen` content frames; true when they end the stream.
fn faults(steps: &mut Vec<Step>, script: &Script, breakage: &Breakage, seen: usize, total: usize) -> bool {
    let due = |after: Option<usize>| after.is_some_and(|after| after.min(total) == seen);
    if due(script.malformed_after_chunks) {
        send(steps, Frame::bare(breakage.broken.clone()), script.split);
    }
    if due(script.error_after_chunks) {
        send(steps, Frame::bare(breakage.error.clone()), script.split);
        return true;
    }
    if due(script.stall_after_chunks) {
        steps.push(Step::Stall);
        return true;
    }
    if due(script.cut_after_chunks) {
        steps.extend([Step::Breathe, Step::Cut]);
        return true;
    }
    false
}

/// Adds the sends of one frame, torn as the script wants; the last one carries what the frame says.
fn send(steps: &mut Vec<Step>, frame: Frame, split: Option<Split>) {
    let Some(split) = split else {
        steps.push(Step::Send { bytes: frame.bytes, content: frame.content, text: frame.text });
        return;
    };
    let cuts = cuts(&frame.bytes, split);
    let mut rest = frame.bytes;
    let mut taken = 0;
    for cut in cuts {
        let bytes = rest.split_to(cut.saturating_sub(taken));
        taken = cut;
        steps.extend([Step::Send { bytes, content: false, text: String::new() }, Step::Breathe]);
    }
    steps.extend([Step::Send { bytes: rest, content: frame.content, text: frame.text }, Step::Breathe]);
}

/// Where a frame is torn: ascending offsets strictly inside it.
fn cuts(bytes: &[u8], split: Split) -> Vec<usize> {
    match split {
        Split::Bytes => (1..bytes.len()).collect(),
        Split::Utf8 => {
            let inside = bytes.iter().enumerate().filter(|(_, byte)| **byte >= 0xC0).map(|(at, _)| at + 1);
            inside.filter(|at| *at < bytes.len()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::bare("role"),
            Frame::content("a\u{e9}b", "a\u{e9}b"),
            Frame::content("two", "two"),
            Frame::bare("done"),
        ]
    }

    fn breakage() -> Breakage {
        Breakage { broken: "broken".to_owned(), error: "error".to_owned() }
    }

    /// Steps as one readable line.
    fn line(script: &Script) -> String {
        let words = stream(frames(), script, &breakage()).into_iter().map(|step| match step {
            Step::Wait(pause) => format!("{}ms", pause.as_millis()),
            Step::Send { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
            Step::Breathe => "~".to_owned(),
            Step::Cut => "CUT".to_owned(),
            Step::Stall => "STALL".to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn faults_happen_after_the_given_number_of_content_frames() {
        let cases = [
            (r#"{}"#, "role a\u{e9}b two done"),
            (r#"{"first_token_ms":7,"chunk_delay_ms":5}"#, "7ms role a\u{e9}b 5ms two done"),
            (r#"{"cut_after_chunks":0}"#, "role ~ CUT"),
            (r#"{"cut_after_chunks":1}"#, "role a\u{e9}b ~ CUT"),
            (r#"{"stall_after_chunks":9}"#, "role a\u{e9}b two STALL"),
            (r#"{"malformed_after_chunks":1}"#, "role a\u{e9}b broken two done"),
            (r#"{"error_after_chunks":2}"#, "role a\u{e9}b two error"),
        ];
        for (script, expected) in cases {
            assert_eq!(line(&super::super::script::parse(script).unwrap()), expected, "{script}");
        }
    }

    #[test]
    fn torn_frames_join_to_the_same_bytes_and_count_once() {
        for split in [Split::Bytes, Split::Utf8] {
            let steps = stream(frames(), &Script { split: Some(split), ..Script::default() }, &breakage());
            let (mut joined, mut contents, mut text) = (Vec::new(), 0, String::new());
            let mut torn = false;
            for step in steps {
                if let Step::Send { bytes, content, text: said } = step {
                    torn |= std::str::from_utf8(&bytes).is_err();
                    joined.extend_from_slice(&bytes);
                    contents += usize::from(content);
                    text.push_str(&said);
                }
            }
            assert_eq!(joined, "rolea\u{e9}btwodone".as_bytes());
            assert_eq!((contents, text.as_str(), torn), (2, "a\u{e9}btwo", true));
        }
    }
}
