//! G.711 µ-law and A-law (ITU-T G.711, November 1988).

/// The two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law: PCMU, RTP payload type 0.
    Mu,
    /// A-law: PCMA, RTP payload type 8.
    A,
}

impl Law {
    /// The code of digital silence.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xFF,
            Self::A => 0xD5,
        }
    }

    /// Encodes as many samples as both slices hold; returns how many.
    pub fn encode(self, pcm: &[i16], codes: &mut [u8]) -> usize {
        let pairs = pcm.iter().zip(codes.iter_mut());
        match self {
            Self::Mu => pairs.for_each(|(sample, code)| *code = mu_encode(*sample)),
            Self::A => pairs.for_each(|(sample, code)| *code = a_encode(*sample)),
        }
        pcm.len().min(codes.len())
    }

    /// Decodes as many samples as both slices hold; returns how many.
    pub fn decode(self, codes: &[u8], pcm: &mut [i16]) -> usize {
        let table = match self {
            Self::Mu => &MU_TABLE,
            Self::A => &A_TABLE,
        };
        for (code, sample) in codes.iter().zip(pcm.iter_mut()) {
            *sample = table[usize::from(*code)];
        }
        pcm.len().min(codes.len())
    }
}

/// Added to the magnitude so that every µ-law segment begins at a power of two (33 in 14 bits).
const MU_BIAS: i32 = 33 << 2;
/// Largest magnitude that does not leave the last µ-law segment.
const MU_CLIP: i32 = (8158 << 2) | 3;
/// Every other bit of an A-law code is inverted on the line (G.711 section 3.3, table 1a note 2).
const A_INVERT: u8 = 0x55;

static MU_TABLE: [i16; 256] = table(Law::Mu);
static A_TABLE: [i16; 256] = table(Law::A);

/// Encodes one sample.
#[inline]
pub const fn mu_encode(sample: i16) -> u8 {
    let value = sample as i32;
    let magnitude = if value < 0 { -value } else { value };
    let biased = if magnitude > MU_CLIP { MU_CLIP } else { magnitude } + MU_BIAS;
    // `biased` lies in 132..=32767: its highest bit is bit 7 to 14, the segment's number is 0 to 7.
    let segment = 24 - biased.leading_zeros();
    let code = (segment << 4) as u8 | (biased >> (segment + 3) & 0x0F) as u8;
    // All bits are inverted on the line, and positive values have the sign bit set.
    if value < 0 { !(code | 0x80) } else { !code }
}

/// Decodes one sample.
#[inline]
pub const fn mu_decode(code: u8) -> i16 {
    let code = !code;
    let segment = code >> 4 & 0x07;
    let magnitude = (((code & 0x0F) as i32) << 3 | 0x84) << segment;
    let value = magnitude - MU_BIAS;
    if code & 0x80 != 0 { -value as i16 } else { value as i16 }
}

/// Encodes one sample.
#[inline]
pub const fn a_encode(sample: i16) -> u8 {
    // A-law has no code for zero: -1 belongs to the first negative interval.
    let magnitude = if sample < 0 { !sample } else { sample } as i32 >> 4;
    let code = if magnitude < 32 {
        // The first two segments have the same step.
        magnitude as u8
    } else {
        // 32..=2047: the highest bit is bit 5 to 10, the segment's number is 2 to 7.
        let segment = 28 - magnitude.leading_zeros();
        (segment as u8) << 4 | (magnitude >> (segment - 1) & 0x0F) as u8
    };
    let sign = if sample < 0 { 0 } else { 0x80 };
    (code | sign) ^ A_INVERT
}

/// Decodes one sample.
#[inline]
pub const fn a_decode(code: u8) -> i16 {
    let code = code ^ A_INVERT;
    let step = (code & 0x0F) as i32;
    let segment = code >> 4 & 0x07;
    let magnitude = match segment {
        0 => step << 4 | 8,
        _ => (step << 4 | 0x108) << (segment - 1),
    };
    if code & 0x80 == 0 { -magnitude as i16 } else { magnitude as i16 }
}

const fn table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = match law {
            Law::Mu => mu_decode(code as u8),
            Law::A => a_decode(code as u8),
        };
        code += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Law, a_decode, a_encode, mu_decode, mu_encode};

    /// Interval and output of a magnitude by the recommendation's tables 1a and 2a: end points of the
    /// segments, 16 even intervals each, output in the middle. In units of 1/8 of a 16-bit step.
    fn by_table(segments: &[(i64, i64, i64)], magnitude: i64) -> (i64, i64) {
        let mut number = 0;
        for &(start, end, intervals) in segments {
            let width = (end - start) / intervals;
            if magnitude < end {
                let interval = (magnitude - start) / width;
                return (number + interval, start + interval * width + width / 2);
            }
            number += intervals;
        }
        let &(start, end, intervals) = segments.last().unwrap();
        (number - 1, end - (end - start) / intervals / 2)
    }

    #[test]
    fn mu_law_follows_the_decision_values() {
        // 14-bit end points 0 1 31 95 223 479 991 2015 4063 8159; the first interval has one step and
        // its output is 0.
        let ends = [1, 31, 95, 223, 479, 991, 2015, 4063, 8159];
        let unit = 4 * 8;
        let mut segments = vec![];
        for (index, pair) in ends.windows(2).enumerate() {
            segments.push((pair[0] * unit, pair[1] * unit, if index == 0 { 15 } else { 16 }));
        }
        for sample in i16::MIN..=i16::MAX {
            let magnitude = i64::from(sample).abs() * 8;
            let (number, output) = if magnitude < unit { (0, 0) } else { by_table(&segments, magnitude) };
            let number = if magnitude < unit { 0 } else { number + 1 };
            let code = mu_encode(sample);
            assert_eq!(i64::from(!code & 0x7F), number, "{sample}");
            assert_eq!(code & 0x80 != 0, sample >= 0, "{sample}");
            assert_eq!(i64::from(mu_decode(code)).abs() * 8, output, "{sample}");
        }
    }

    #[test]
    fn a_law_follows_the_decision_values() {
        // End points 0 64 128 256 512 1024 2048 4096; the first segment has 32 intervals of two units.
        let unit = 8 * 8;
        let ends = [0, 64, 128, 256, 512, 1024, 2048, 4096];
        let segments: Vec<_> = ends
            .windows(2)
            .enumerate()
            .map(|(index, pair)| (pair[0] * unit, pair[1] * unit, if index == 0 { 32 } else { 16 }))
            .collect();
        for sample in i16::MIN..=i16::MAX {
            let magnitude = i64::from(if sample < 0 { !sample } else { sample }) * 8;
            let (number, output) = by_table(&segments, magnitude);
            let code = a_encode(sample);
            let plain = code ^ 0x55;
            assert_eq!(plain & 0x80 != 0, sample >= 0, "{sample}");
            assert_eq!(i64::from(plain & 0x7F), number, "{sample}");
            assert_eq!(i64::from(a_decode(code)).abs() * 8, output, "{sample}");
        }
    }

    #[test]
    fn known_codes() {
        assert_eq!([mu_encode(0), mu_encode(i16::MAX), mu_encode(i16::MIN)], [0xFF, 0x80, 0x00]);
        assert_eq!(
            [a_encode(0), a_encode(-1), a_encode(i16::MAX), a_encode(i16::MIN)],
            [0xD5, 0x55, 0xAA, 0x2A]
        );
        assert_eq!(
            [mu_decode(0x80), mu_decode(0x00), mu_decode(0xFF), mu_decode(0x7F)],
            [32124, -32124, 0, 0]
        );
        assert_eq!([a_decode(0xD5), a_decode(0x55), a_decode(0xAA)], [8, -8, 32256]);
        // The 1 kHz signal at 0 dBm0 of tables 5 (A-law) and 6 (µ-law): eight codes, sampled at odd
        // multiples of 22.5 degrees.
        let a: Vec<i16> = [0x34, 0x21, 0x21, 0x34, 0xB4, 0xA1, 0xA1, 0xB4].map(a_decode).to_vec();
        let mu: Vec<i16> = [0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E].map(mu_decode).to_vec();
        for sequence in [a, mu] {
            let (low, high) = (f64::from(sequence[4]), f64::from(sequence[5]));
            assert!((high / low - f64::tan(67.5_f64.to_radians())).abs() < 0.08, "{sequence:?}");
            assert_eq!(sequence[4..].iter().map(|value| -value).collect::<Vec<_>>(), sequence[..4]);
        }
    }

    #[test]
    fn a_decoded_code_encodes_to_itself() {
        for code in 0..=255 {
            assert_eq!(a_encode(a_decode(code)), code);
            if code != 0x7F {
                assert_eq!(mu_encode(mu_decode(code)), code);
            }
        }
        // µ-law has two zeros; the negative one becomes the positive.
        assert_eq!(mu_encode(mu_decode(0x7F)), 0xFF);
    }

    #[test]
    fn slices_of_different_length_take_the_shorter() {
        for law in [Law::Mu, Law::A] {
            let mut codes = [7; 3];
            assert_eq!(law.encode(&[0, 0], &mut codes), 2);
            assert_eq!(codes, [law.silence(), law.silence(), 7]);
            let mut pcm = [0; 2];
            assert_eq!(law.decode(&[0x80, 0x80, 0x80], &mut pcm), 2);
        }
    }
}
