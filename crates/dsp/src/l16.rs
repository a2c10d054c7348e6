//! L16: linear samples in network order (RFC 3551 section 4.5.11), and little-endian PCM of sockets.

/// Writes samples in network order; returns the bytes written (both slices limit).
pub fn encode(pcm: &[i16], bytes: &mut [u8]) -> usize {
    write(pcm, bytes, i16::to_be_bytes)
}

/// Reads samples in network order; returns the samples read. An odd last byte is ignored.
pub fn decode(bytes: &[u8], pcm: &mut [i16]) -> usize {
    read(bytes, pcm, i16::from_be_bytes)
}

/// Writes samples little-endian, as engine sockets carry PCM; returns the bytes written.
pub fn encode_le(pcm: &[i16], bytes: &mut [u8]) -> usize {
    write(pcm, bytes, i16::to_le_bytes)
}

/// Reads little-endian samples; returns the samples read. An odd last byte is ignored.
pub fn decode_le(bytes: &[u8], pcm: &mut [i16]) -> usize {
    read(bytes, pcm, i16::from_le_bytes)
}

fn write(pcm: &[i16], bytes: &mut [u8], order: impl Fn(i16) -> [u8; 2]) -> usize {
    let pairs = bytes.as_chunks_mut::<2>().0;
    let count = pcm.len().min(pairs.len());
    for (sample, pair) in pcm.iter().zip(pairs) {
        *pair = order(*sample);
    }
    count * 2
}

fn read(bytes: &[u8], pcm: &mut [i16], order: impl Fn([u8; 2]) -> i16) -> usize {
    let pairs = bytes.as_chunks::<2>().0;
    let count = pcm.len().min(pairs.len());
    for (sample, pair) in pcm.iter_mut().zip(pairs) {
        *sample = order(*pair);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_le, encode, encode_le};

    #[test]
    fn network_order_and_back() {
        let pcm = [0, 1, -1, 0x1234, i16::MIN, i16::MAX];
        let mut bytes = [0; 12];
        assert_eq!(encode(&pcm, &mut bytes), 12);
        assert_eq!(bytes[..8], [0, 0, 0, 1, 0xFF, 0xFF, 0x12, 0x34]);
        let mut back = [0; 6];
        assert_eq!((decode(&bytes, &mut back), back), (6, pcm));
    }

    #[test]
    fn little_endian_and_back() {
        let mut bytes = [0; 5];
        assert_eq!(encode_le(&[0x1234, -2, 7], &mut bytes), 4);
        assert_eq!(bytes[..4], [0x34, 0x12, 0xFE, 0xFF]);
        let mut back = [9; 3];
        assert_eq!((decode_le(&bytes, &mut back), back), (2, [0x1234, -2, 9]));
    }
}
