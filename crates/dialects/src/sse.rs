//! Server-sent events: bytes to frames, bounded, resumable at any byte.
//!
//! Follows the WHATWG rules for lines, comments and multi-line data. Ignores `id` and `retry`: we never
//! reconnect. Knows nothing of what the data means.

use crate::dialect::WireError;

/// Longest line, and longest sum of data lines of one event, in bytes.
pub const MAX_EVENT: usize = 1024 * 1024;

/// One event. `event` is empty unless the provider named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub event: &'a str,
    pub data: &'a str,
}

/// Collects bytes into frames.
#[derive(Debug, Default)]
pub struct SseReader {
    /// An unfinished line.
    line: Vec<u8>,
    /// The last line ended with CR, so an LF at the start belongs to it.
    after_cr: bool,
    /// The first line was seen (a byte order mark may only stand before it).
    begun: bool,
    event: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl SseReader {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives every frame that these bytes complete to `sink`. An error of either side ends the reading.
    pub fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(Frame<'_>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
                return self.keep(rest);
            };
            let (line, tail) = rest.split_at(end);
            self.after_cr = tail.first() == Some(&b'\r');
            rest = tail.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.take_line(line, sink)?;
            } else {
                self.keep(line)?;
                let whole = std::mem::take(&mut self.line);
                self.take_line(&whole, sink)?;
                // Keeps the allocation for the next split line.
                self.line = whole;
                self.line.clear();
            }
        }
        Ok(())
    }

    /// The stream ended. Providers that forget the last blank line are forgiven.
    pub fn finish(
        &mut self,
        sink: &mut dyn FnMut(Frame<'_>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(&line, sink)?;
        }
        self.dispatch(sink)
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), WireError> {
        if self.line.len() + part.len() > MAX_EVENT {
            return Err(WireError::TooLong { limit: MAX_EVENT });
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn take_line(
        &mut self,
        line: &[u8],
        sink: &mut dyn FnMut(Frame<'_>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if line.len() > MAX_EVENT {
            return Err(WireError::TooLong { limit: MAX_EVENT });
        }
        let line = if std::mem::replace(&mut self.begun, true) {
            line
        } else {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        };
        if line.is_empty() {
            return self.dispatch(sink);
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default()),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => return self.add_data(value),
            b"event" => {
                self.event.clear();
                self.event.extend_from_slice(value);
            }
            // Comments (an empty field name), `id`, `retry` and unknown fields.
            _ => {}
        }
        Ok(())
    }

    fn add_data(&mut self, value: &[u8]) -> Result<(), WireError> {
        if self.data.len() + value.len() > MAX_EVENT {
            return Err(WireError::TooLong { limit: MAX_EVENT });
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        Ok(())
    }

    fn dispatch(
        &mut self,
        sink: &mut dyn FnMut(Frame<'_>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let outcome = if self.has_data {
            match (std::str::from_utf8(&self.event), std::str::from_utf8(&self.data)) {
                (Ok(event), Ok(data)) => sink(Frame { event, data }),
                _ => Err(WireError::Malformed { what: "stream event", detail: "not UTF-8".to_owned() }),
            }
        } else {
            Ok(())
        };
        self.event.clear();
        self.data.clear();
        self.has_data = false;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<(String, String)>, WireError> {
        let mut reader = SseReader::new();
        let mut frames = Vec::new();
        let mut sink = |frame: Frame<'_>| {
            frames.push((frame.event.to_owned(), frame.data.to_owned()));
            Ok(())
        };
        for piece in pieces {
            reader.push(piece, &mut sink)?;
        }
        reader.finish(&mut sink)?;
        Ok(frames)
    }

    #[test]
    fn any_split_gives_the_same_frames() {
        let text = "\u{FEFF}: hello\r\ndata: {\"é\":\r\ndata:\"😀\"}\r\n\r\nevent: ping\ndata\n\nid: 3\rdata: x\r\rdata:  y";
        let whole = read(&[text.as_bytes()]).unwrap();
        let expected = [("", "{\"é\":\n\"😀\"}"), ("ping", ""), ("", "x"), ("", " y")];
        assert_eq!(whole, expected.map(|(event, data)| (event.to_owned(), data.to_owned())));
        for cut in 0..text.len() {
            let (a, b) = text.as_bytes().split_at(cut);
            assert_eq!(read(&[a, b]).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), whole);
    }

    #[test]
    fn lines_and_events_beyond_the_bound_are_refused_however_they_arrive() {
        let long = format!("data: {}\n\n", "x".repeat(MAX_EVENT));
        let many = format!("data: {}\n", "x".repeat(1000)).repeat(1100);
        for text in [long, many] {
            assert_eq!(read(&[text.as_bytes()]), Err(WireError::TooLong { limit: MAX_EVENT }));
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(7919).collect();
            assert_eq!(read(&pieces), Err(WireError::TooLong { limit: MAX_EVENT }));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_an_error() {
        assert!(matches!(read(&[b"data: \xFF\n\n"]), Err(WireError::Malformed { .. })));
    }
}
