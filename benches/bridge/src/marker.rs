//! Audio frames that say who they are.
//!
//! A frame of 20 ms at 8 kHz is four symbols of 5 ms; each is one of sixteen tones from 400 to 3400 Hz,
//! 200 Hz apart and so orthogonal over a symbol. The four nibbles are: frame number (two), one nibble
//! of the call's number (which one depends on the frame number), and a check. The marks survive
//! companding, resampling and gain, so whatever can be read was really carried.

use std::collections::VecDeque;
use std::sync::LazyLock;

use trunkline_dsp::g711;

/// Samples of a frame at 8 kHz.
pub(crate) const FRAME: usize = 160;
const SYMBOL: usize = 40;
const SYMBOLS: usize = 4;
const TONES: usize = 16;
const AMPLITUDE: f32 = 8000.0;
/// Share of a symbol's power in its tone, in the worst of the four symbols.
const READABLE: f32 = 0.6;
const SURE: f32 = 0.8;
const WELL_ALIGNED: f32 = 0.93;
/// Frames in a row that could not be read before the alignment is searched anew.
const MISSES: u32 = 5;
/// Frames that may lie between two marks (a pause has thirty); a larger step is a misreading.
const MAX_STEP: u8 = 40;
/// Quieter audio cannot be a mark: not worth a search.
const AUDIBLE: u16 = 500;
const KEPT: usize = 8192;
const CHUNKS: usize = 128;

/// Calls that can be told apart: three nibbles.
pub(crate) const MAX_CALLS: usize = 1 << 12;

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Frame number modulo 256.
    pub(crate) frame: u8,
    /// One nibble of the call's number: number `frame % 3`.
    pub(crate) call_nibble: u8,
}

impl Mark {
    pub(crate) fn of(call: usize, frame: u8) -> Self {
        Self { frame, call_nibble: (call >> (4 * u32::from(frame % 3)) & 0x0F) as u8 }
    }

    fn nibbles(self) -> [u8; SYMBOLS] {
        let (high, low) = (self.frame >> 4, self.frame & 0x0F);
        [high, low, self.call_nibble, check(high, low, self.call_nibble)]
    }
}

fn check(high: u8, low: u8, call: u8) -> u8 {
    (high.wrapping_mul(3) ^ low.wrapping_mul(5) ^ call.wrapping_mul(7)).wrapping_add(9) & 0x0F
}

struct Tables {
    /// Encoded symbols.
    codes: [[u8; SYMBOL]; TONES],
    /// For each sample of a symbol the cosines of all tones, then the sines.
    waves: [[f32; TONES * 2]; SYMBOL],
}

static TABLES: LazyLock<Box<Tables>> = LazyLock::new(|| {
    let mut tables = Box::new(Tables { codes: [[0; SYMBOL]; TONES], waves: [[0.0; TONES * 2]; SYMBOL] });
    for tone in 0..TONES {
        for sample in 0..SYMBOL {
            let turns = (2 + tone) as f32 * sample as f32 / SYMBOL as f32;
            let (sine, cosine) = (turns * std::f32::consts::TAU).sin_cos();
            tables.waves[sample][tone] = cosine;
            tables.waves[sample][TONES + tone] = sine;
            tables.codes[tone][sample] = g711::mu_encode((sine * AMPLITUDE) as i16);
        }
    }
    tables
});

/// Writes a frame as µ-law.
pub(crate) fn encode(mark: Mark, payload: &mut [u8; FRAME]) {
    for (nibble, symbol) in mark.nibbles().into_iter().zip(payload.as_chunks_mut::<SYMBOL>().0) {
        *symbol = TABLES.codes[usize::from(nibble)];
    }
}

/// Reads 160 samples; the quality tells how much of the power lies where it should.
fn decode(samples: &[i16]) -> Option<(Mark, f32)> {
    let mut nibbles = [0; SYMBOLS];
    let mut quality = 1.0_f32;
    for (nibble, symbol) in nibbles.iter_mut().zip(samples.as_chunks::<SYMBOL>().0) {
        let mut sums = [0.0_f32; TONES * 2];
        for (sample, waves) in symbol.iter().zip(&TABLES.waves) {
            let value = f32::from(*sample);
            for (sum, wave) in sums.iter_mut().zip(waves) {
                *sum += value * wave;
            }
        }
        let (mut best, mut total) = ((0, 0.0_f32), 1.0_f32);
        for tone in 0..TONES {
            let power = sums[tone] * sums[tone] + sums[TONES + tone] * sums[TONES + tone];
            total += power;
            if power > best.1 {
                best = (tone, power);
            }
        }
        *nibble = best.0 as u8;
        quality = quality.min(best.1 / total);
    }
    let [high, low, call, sum] = nibbles;
    (check(high, low, call) == sum).then_some((Mark { frame: high << 4 | low, call_nibble: call }, quality))
}

/// A mark that was read, and when its first sample arrived on the audio's timeline: the arrival of the
/// piece that holds the sample, plus the sample's place in the piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) mark: Mark,
    pub(crate) at: u64,
}

/// What a step through the audio gave.
enum Step {
    /// There is not enough audio yet.
    Starved,
    /// A frame's length of something else.
    Noise,
    /// A mark and its position.
    Mark(u64, Mark),
}

/// Finds marks in a stream of audio at 8 kHz.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    samples: Vec<i16>,
    /// Position of `samples[0]` in the stream.
    base: u64,
    /// Position of the next frame.
    next: u64,
    locked: bool,
    misses: u32,
    /// Number of the last frame.
    last: u8,
    /// Position and arrival of the latest pieces.
    chunks: VecDeque<(u64, u64)>,
}

impl Reader {
    /// Takes a piece that arrived at `now` (nanoseconds) and reports the marks that it completes.
    pub(crate) fn feed(&mut self, piece: &[i16], now: u64, mut found: impl FnMut(Found)) {
        if self.chunks.len() == CHUNKS {
            self.chunks.pop_front();
        }
        self.chunks.push_back((self.base + self.samples.len() as u64, now));
        self.samples.extend_from_slice(piece);
        loop {
            match self.step() {
                Step::Starved => break,
                Step::Noise => {}
                Step::Mark(position, mark) => {
                    if let Some(at) = self.arrival(position) {
                        found(Found { mark, at });
                    }
                }
            }
        }
        let done = (self.next - self.base) as usize;
        if done > KEPT {
            self.samples.drain(..done);
            self.base = self.next;
        }
    }

    /// Reads one frame.
    fn step(&mut self) -> Step {
        let offset = (self.next - self.base) as usize;
        let available = self.samples.len().saturating_sub(offset);
        if self.locked {
            if available < FRAME {
                return Step::Starved;
            }
            // Concealed audio can look like a mark by chance, but hardly like the next one.
            let follows = |mark: Mark| (1..=MAX_STEP).contains(&mark.frame.wrapping_sub(self.last));
            let read =
                self.aligned(offset).filter(|(_, mark, quality)| *quality >= READABLE && follows(*mark));
            // Silence says nothing against the alignment, and a search is expensive when all calls make one.
            let silent = trunkline_dsp::level::peak(&self.samples[offset..offset + FRAME]) < AUDIBLE;
            self.misses = if read.is_some() { 0 } else { self.misses + u32::from(!silent) };
            self.locked = self.misses < MISSES;
            return self.accept(read.map(|(at, mark, _)| (at, mark)));
        }
        if available < 4 * FRAME {
            return Step::Starved;
        }
        let read = self.search(offset);
        self.locked = read.is_some();
        self.misses = 0;
        self.accept(read)
    }

    fn accept(&mut self, read: Option<(usize, Mark)>) -> Step {
        let position = read.map_or(self.next, |(at, _)| self.base + at as u64);
        self.next = position + FRAME as u64;
        if let Some((_, mark)) = read {
            self.last = mark.frame;
        }
        read.map_or(Step::Noise, |(_, mark)| Step::Mark(position, mark))
    }

    /// The frame at `offset`, or nearby when the alignment has moved a little.
    fn aligned(&self, offset: usize) -> Option<(usize, Mark, f32)> {
        let at = |start: usize| {
            let samples = self.samples.get(start..start + FRAME)?;
            decode(samples).map(|(mark, quality)| (start, mark, quality))
        };
        let straight = at(offset);
        if straight.is_some_and(|(_, _, quality)| quality >= WELL_ALIGNED) {
            return straight;
        }
        let nearby = [1, 2, 4].into_iter().flat_map(|step| [offset.checked_sub(step), Some(offset + step)]);
        nearby.flatten().filter_map(at).chain(straight).max_by(|one, other| one.2.total_cmp(&other.2))
    }

    fn search(&self, offset: usize) -> Option<(usize, Mark)> {
        let window = &self.samples[offset..offset + 4 * FRAME];
        if trunkline_dsp::level::peak(window) < AUDIBLE {
            return None;
        }
        (offset..offset + FRAME)
            .step_by(4)
            .filter_map(|start| {
                let (mark, quality) = decode(&self.samples[start..start + FRAME])?;
                // Symbols look the same wherever a frame begins: only the next frames' numbers prove it.
                let follows = (1..=2).all(|ahead| {
                    let later = start + usize::from(ahead) * FRAME;
                    let next = decode(&self.samples[later..later + FRAME]);
                    next.is_some_and(|(next, _)| next.frame == mark.frame.wrapping_add(ahead))
                });
                (quality >= SURE && follows).then_some((start, mark, quality))
            })
            .max_by(|one, other| one.2.total_cmp(&other.2))
            .map(|(start, mark, _)| (start, mark))
    }

    fn arrival(&self, position: u64) -> Option<u64> {
        let (start, at) = self.chunks.iter().rev().find(|(start, _)| *start <= position)?;
        Some(at + (position - start) * 125_000)
    }
}

#[cfg(test)]
mod tests {
    use super::{FRAME, Mark, Reader, encode};
    use trunkline_dsp::g711::Law;
    use trunkline_dsp::{ComfortNoise, Resampler, gain};

    fn stream(call: usize, frames: u32) -> Vec<i16> {
        let mut pcm = Vec::new();
        for number in 0..frames {
            let mut payload = [0; FRAME];
            encode(Mark::of(call, number as u8), &mut payload);
            let mut block = [0; FRAME];
            Law::Mu.decode(&payload, &mut block);
            pcm.extend(block);
        }
        pcm
    }

    fn read(pcm: &[i16], chunk: usize) -> Vec<(Mark, u64)> {
        let mut reader = Reader::default();
        let mut marks = Vec::new();
        for (index, piece) in pcm.chunks(chunk).enumerate() {
            // Pieces arrive in real time.
            let now = (index * chunk) as u64 * 125_000;
            reader.feed(piece, now, |found| marks.push((found.mark, found.at)));
        }
        marks
    }

    #[test]
    fn all_frames_are_read_with_their_time() {
        let marks = read(&stream(0xABC, 300), 160);
        assert_eq!(marks.len(), 300);
        for (number, (mark, at)) in marks.iter().enumerate() {
            assert_eq!((*mark, *at), (Mark::of(0xABC, number as u8), number as u64 * 20_000_000));
        }
    }

    #[test]
    fn marks_survive_resampling_companding_gain_and_noise() {
        let mut up = Resampler::new(8000, 16_000).unwrap();
        let mut down = Resampler::new(16_000, 8000).unwrap();
        let pcm = stream(77, 200);
        let mut wide = vec![0; pcm.len() * 2];
        up.process(&pcm, &mut wide);
        let mut narrow = vec![0; pcm.len()];
        down.process(&wide, &mut narrow);
        gain::Gain::new(0.3).apply(&mut narrow);
        let mut noise = vec![0; narrow.len()];
        ComfortNoise::new(5, -50.0).fill(&mut noise);
        gain::mix(&mut narrow, &noise);
        let mut codes = vec![0; narrow.len()];
        Law::Mu.encode(&narrow, &mut codes);
        Law::Mu.decode(&codes, &mut narrow);
        let marks = read(&narrow, 320);
        // The tail of the last frame is still inside the filters.
        assert_eq!(marks.len(), 199);
        let delay = u64::from(up.delay_micros() + down.delay_micros()) * 1000;
        for (number, (mark, at)) in marks.iter().enumerate() {
            assert_eq!(*mark, Mark::of(77, number as u8));
            assert!(at.abs_diff(number as u64 * 20_000_000 + delay) < 400_000, "{number}: {at}");
        }
    }

    #[test]
    fn a_lost_frame_is_missing_and_nothing_else() {
        let mut pcm = stream(9, 100);
        pcm[50 * FRAME..51 * FRAME].fill(0);
        let frames: Vec<u8> = read(&pcm, 160).iter().map(|(mark, _)| mark.frame).collect();
        assert_eq!(frames, (0..100).filter(|number| *number != 50).collect::<Vec<u8>>());
    }

    #[test]
    fn silence_and_noise_are_no_marks() {
        assert!(read(&vec![0; 16_000], 160).is_empty());
        let mut noise = vec![0; 16_000];
        ComfortNoise::new(5, -20.0).fill(&mut noise);
        assert!(read(&noise, 160).is_empty());
    }

    #[test]
    fn a_stream_is_found_after_any_offset() {
        for offset in [1, 33, 80, 159] {
            let pcm = [vec![0; offset], stream(5, 50)].concat();
            let marks = read(&pcm, 160);
            assert!(marks.len() >= 49, "{offset}: {}", marks.len());
        }
    }
}
