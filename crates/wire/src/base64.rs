//! Standard base64 (RFC 4648 section 4, padded, canonical), in and out of caller-owned buffers.
//!
//! Only what a 20 ms path needs: no allocation once the buffers have grown, no tolerance for white
//! space or missing padding, because an engine that sends either is broken and should be noticed.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const INVALID: u8 = 0xFF;

const DECODE: [u8; 256] = {
    let mut table = [INVALID; 256];
    let mut index = 0;
    while index < 64 {
        table[ALPHABET[index] as usize] = index as u8;
        index += 1;
    }
    table
};

/// The text is not canonical, padded base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical base64")]
pub struct BadBase64;

/// Length of the encoding of `len` bytes.
pub const fn encoded_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// Appends the encoding of `bytes` to `out`.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_len(bytes.len()));
    let sextet = |value: u32, shift: u32| ALPHABET[(value >> shift) as usize & 0x3F];
    let (triples, rest) = bytes.as_chunks::<3>();
    for triple in triples {
        let value = u32::from_be_bytes([0, triple[0], triple[1], triple[2]]);
        out.extend_from_slice(&[sextet(value, 18), sextet(value, 12), sextet(value, 6), sextet(value, 0)]);
    }
    match *rest {
        [a] => {
            let value = u32::from(a) << 16;
            out.extend_from_slice(&[sextet(value, 18), sextet(value, 12), b'=', b'=']);
        }
        [a, b] => {
            let value = u32::from(a) << 16 | u32::from(b) << 8;
            out.extend_from_slice(&[sextet(value, 18), sextet(value, 12), sextet(value, 6), b'=']);
        }
        _ => {}
    }
}

/// Replaces the contents of `out` by the decoding of `text`.
///
/// # Errors
/// A character outside the alphabet (white space included), missing or misplaced padding, or
/// non-zero bits behind the last byte. `out` is empty then.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), BadBase64> {
    out.clear();
    let (quads, []) = text.as_chunks::<4>() else {
        return Err(BadBase64);
    };
    let Some((last, body)) = quads.split_last() else {
        return Ok(());
    };
    out.reserve(quads.len() * 3);
    let mut seen = 0_u8;
    for quad in body {
        let [a, b, c, d] = quad.map(|byte| DECODE[byte as usize]);
        seen |= a | b | c | d;
        let value = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
        out.extend_from_slice(&value.to_be_bytes()[1..]);
    }
    // Valid sextets are below 64, so bit 7 of the union tells whether any character was not one.
    let ok = seen & 0x80 == 0 && decode_last(*last, out);
    if ok {
        Ok(())
    } else {
        out.clear();
        Err(BadBase64)
    }
}

fn decode_last(quad: [u8; 4], out: &mut Vec<u8>) -> bool {
    let padding = match quad {
        [_, _, b'=', b'='] => 2,
        [_, _, _, b'='] => 1,
        _ => 0,
    };
    let mut value = 0_u32;
    for &byte in &quad[..4 - padding] {
        let sextet = DECODE[byte as usize];
        if sextet == INVALID {
            return false;
        }
        value = value << 6 | u32::from(sextet);
    }
    value <<= 6 * padding;
    let bytes = value.to_be_bytes();
    let (used, unused) = bytes[1..].split_at(3 - padding);
    if unused.iter().any(|&byte| byte != 0) {
        return false;
    }
    out.extend_from_slice(used);
    true
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn encodes_like_the_reference(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = b"kept".to_vec();
            encode(&bytes, &mut out);
            prop_assert_eq!(&out[..4], b"kept");
            prop_assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), STANDARD.encode(&bytes));
            let mut back = vec![1];
            decode(&out[4..], &mut back).unwrap();
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn accepts_exactly_what_the_reference_accepts(text in "[A-Za-z0-9+/=\\n -]{0,24}") {
            let mut out = Vec::new();
            let ours = decode(text.as_bytes(), &mut out).map(|()| out.clone()).ok();
            prop_assert_eq!(ours, STANDARD.decode(&text).ok());
        }

        #[test]
        fn hostile_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = Vec::new();
            let ours = decode(&text, &mut out).map(|()| out.clone()).ok();
            prop_assert_eq!(ours, STANDARD.decode(&text).ok());
        }
    }
}
