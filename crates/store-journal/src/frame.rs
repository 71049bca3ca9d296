//! A record as it lies in a segment: length (4 bytes), CRC-32C of kind and body (4), kind (1), body.
//!
//! Segments are made full of zeros, so a length of zero is where writing stopped. A frame that does not add
//! up is skipped byte by byte until one does: a torn or flipped record takes no other with it. No text of a
//! client can pass for a frame, because a length has a zero byte, and packed JSON never has one.

use billing::journal::{Kind, Record};

/// Bytes before the body.
const HEADER: usize = 9;
/// The longest body: records are a kilobyte, and texts of clients are bounded well below this.
const BODY_MAX: usize = 1 << 20;

/// Appends a frame whose body `write` appends; `false`, and nothing appended, where it is too long.
pub(crate) fn append(buffer: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER - 1]);
    buffer.push(kind.byte());
    write(buffer);
    let Some(frame) = buffer.get_mut(start..) else { return false };
    let Some((header, checked)) = frame.split_at_mut_checked(HEADER - 1) else { return false };
    let length = checked.len() - 1;
    let Some(length_bytes) = u32::try_from(length).ok().filter(|_| length <= BODY_MAX && length > 0) else {
        buffer.truncate(start);
        return false;
    };
    let sum = crc32c::crc32c(checked);
    for (slot, byte) in header.iter_mut().zip(length_bytes.to_le_bytes().into_iter().chain(sum.to_le_bytes()))
    {
        *slot = byte;
    }
    true
}

/// What was found in a segment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) records: u64,
    /// Stretches that are no record: torn, flipped or foreign.
    pub(crate) damaged: u64,
}

/// Reads every sound record of a segment, in order.
pub(crate) fn scan(segment: &[u8], mut each: impl FnMut(Record)) -> Scanned {
    let (mut at, mut found, mut astray) = (0, Scanned::default(), false);
    while let Some(rest) = segment.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((record, length)) = sound(rest) {
            each(record);
            found.records += 1;
            astray = false;
            at += length;
            continue;
        }
        // Zeros are room that was never written.
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        if zeros == rest.len() {
            break;
        }
        // A frame may begin with a zero: a length that is a multiple of 256.
        at += zeros.saturating_sub(3).max(1);
        found.damaged += u64::from(!astray);
        astray = true;
    }
    found
}

/// The record at the beginning of these bytes, and the length of its frame.
fn sound(bytes: &[u8]) -> Option<(Record, usize)> {
    let (header, rest) = bytes.split_at_checked(HEADER - 1)?;
    let (length, sum) = header.split_at_checked(4)?;
    let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    if length == 0 || length > BODY_MAX {
        return None;
    }
    let checked = rest.get(..=length)?;
    let (kind, body) = checked.split_first()?;
    let kind = Kind::from_byte(*kind)?;
    if crc32c::crc32c(checked) != u32::from_le_bytes(sum.try_into().ok()?) {
        return None;
    }
    Some((Record::read(kind, body)?, HEADER + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::grant;
    use billing::journal::{write_grant, write_key};

    fn segment() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            starts.push(bytes.len());
            assert!(append(&mut bytes, Kind::Admit, |body| write_grant(body, &grant(number))));
        }
        starts.push(bytes.len());
        assert!(append(&mut bytes, Kind::Release, |body| write_key(body, &grant(1).key)));
        bytes.extend_from_slice(&[0; 4096]);
        (bytes, starts)
    }

    fn read(bytes: &[u8]) -> (Vec<Record>, Scanned) {
        let mut records = Vec::new();
        let found = scan(bytes, |record| records.push(record));
        (records, found)
    }

    #[test]
    fn a_segment_is_read_up_to_where_writing_stopped() {
        let (records, found) = read(&segment().0);
        assert_eq!(found, Scanned { records: 4, damaged: 0 });
        assert_eq!(records[1], Record::Admit(grant(2)));
        assert_eq!(records[3], Record::Release(grant(1).key));
    }

    #[test]
    fn a_flipped_bit_takes_its_own_record_and_no_other() {
        let (bytes, starts) = segment();
        for at in 0..starts[3] {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let (records, found) = read(&flipped);
                assert_eq!((records.len(), found.damaged), (3, 1), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_torn_record_ends_a_segment() {
        let (bytes, starts) = segment();
        for end in 0..starts[3] {
            let whole = starts[1..].iter().filter(|start| **start <= end).count();
            assert_eq!(read(&bytes[..end]).0.len(), whole, "{end}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_record_is_not_written() {
        let mut bytes = vec![7];
        assert!(!append(&mut bytes, Kind::Settle, |body| body.resize(body.len() + BODY_MAX + 1, 1)));
        assert_eq!(bytes, [7]);
    }
}
