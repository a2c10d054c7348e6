//! Codecs and rates in the shapes that a session needs: whole buffers in, reused vectors out.

use trunkline_dsp::g711::Law;
use trunkline_dsp::{VadConfig, VadEvent, l16};

use crate::types::{Codec, Encoding, EngineFormat};

pub(crate) use trunkline_dsp::Plc;

/// Samples of the longest packet: 60 ms at 24 kHz.
pub(crate) const MAX_PACKET_SAMPLES: usize = 1440;

/// Replaces `pcm` by the decoded payload of an RTP packet.
pub(crate) fn decode(codec: Codec, payload: &[u8], pcm: &mut Vec<i16>) {
    match codec {
        Codec::Pcmu => replace(pcm, payload.len(), |pcm| Law::Mu.decode(payload, pcm)),
        Codec::Pcma => replace(pcm, payload.len(), |pcm| Law::A.decode(payload, pcm)),
        Codec::L16 => replace(pcm, payload.len() / 2, |pcm| l16::decode(payload, pcm)),
    }
}

/// Replaces `payload` by the encoded samples.
pub(crate) fn encode(codec: Codec, pcm: &[i16], payload: &mut Vec<u8>) {
    match codec {
        Codec::Pcmu => replace(payload, pcm.len(), |payload| Law::Mu.encode(pcm, payload)),
        Codec::Pcma => replace(payload, pcm.len(), |payload| Law::A.encode(pcm, payload)),
        Codec::L16 => replace(payload, pcm.len() * 2, |payload| l16::encode(pcm, payload)),
    }
}

/// Replaces `bytes` by the samples in the encoding of an engine's socket.
pub(crate) fn encode_for_engine(encoding: Encoding, pcm: &[i16], bytes: &mut Vec<u8>) {
    match encoding {
        Encoding::Pcm16 => replace(bytes, pcm.len() * 2, |bytes| l16::encode_le(pcm, bytes)),
        Encoding::Pcmu => encode(Codec::Pcmu, pcm, bytes),
        Encoding::Pcma => encode(Codec::Pcma, pcm, bytes),
    }
}

/// Appends little-endian samples; an odd last byte is ignored.
pub(crate) fn append_le(bytes: &[u8], pcm: &mut Vec<i16>) {
    let start = pcm.len();
    pcm.resize(start + bytes.len() / 2, 0);
    l16::decode_le(bytes, &mut pcm[start..]);
}

fn replace<T: Copy + Default>(target: &mut Vec<T>, length: usize, write: impl FnOnce(&mut [T]) -> usize) {
    target.clear();
    target.resize(length, T::default());
    let written = write(target);
    target.truncate(written);
}

/// A rate converter that appends to a vector.
#[derive(Debug)]
pub(crate) struct Resampler(trunkline_dsp::Resampler);

impl Resampler {
    /// # Panics
    /// For other rates than 8000, 16000 and 24000, which the commands' callers check.
    pub(crate) fn new(from: u32, to: u32) -> Self {
        Self(trunkline_dsp::Resampler::new(from, to).expect("rates are checked where they enter the engine"))
    }

    pub(crate) fn process(&mut self, input: &[i16], output: &mut Vec<i16>) {
        let start = output.len();
        output.resize(start + self.0.max_output(input.len()), 0);
        let written = self.0.process(input, &mut output[start..]);
        output.truncate(start + written);
    }
}

/// Converts a whole piece of audio.
pub(crate) fn resample(pcm: &[i16], from: u32, to: u32) -> Vec<i16> {
    let mut output = Vec::new();
    Resampler::new(from, to).process(pcm, &mut output);
    output
}

/// The engine's audio on its way to the playout queue. Filter state is kept from message to message.
#[derive(Debug)]
pub(crate) struct EngineDecoder {
    format: EngineFormat,
    resampler: Resampler,
    /// First half of a sample that a message boundary cut, and the item it belongs to.
    half: Option<u8>,
    item: String,
    pcm: Vec<i16>,
}

impl EngineDecoder {
    pub(crate) fn new(format: EngineFormat, leg_rate: u32) -> Self {
        Self {
            format,
            resampler: Resampler::new(format.down_rate, leg_rate),
            half: None,
            item: String::new(),
            pcm: Vec::new(),
        }
    }

    pub(crate) fn format(&self) -> &EngineFormat {
        &self.format
    }

    /// Appends a message's audio at the rate of the phone side.
    pub(crate) fn decode(&mut self, item: &str, bytes: &[u8], output: &mut Vec<i16>) {
        if self.item != item {
            self.item.clear();
            self.item.push_str(item);
            self.half = None;
        }
        match self.format.down_encoding {
            Encoding::Pcmu => decode(Codec::Pcmu, bytes, &mut self.pcm),
            Encoding::Pcma => decode(Codec::Pcma, bytes, &mut self.pcm),
            Encoding::Pcm16 => self.decode_pcm16(bytes),
        }
        self.resampler.process(&self.pcm, output);
    }

    fn decode_pcm16(&mut self, mut bytes: &[u8]) {
        self.pcm.clear();
        if let (Some(low), Some((&high, rest))) = (self.half, bytes.split_first()) {
            self.pcm.push(i16::from_le_bytes([low, high]));
            self.half = None;
            bytes = rest;
        }
        append_le(bytes, &mut self.pcm);
        if bytes.len() % 2 == 1 {
            self.half = bytes.last().copied();
        }
    }
}

/// A change between silence and speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpeechChange {
    pub(crate) started: bool,
    pub(crate) lag_ms: u32,
}

/// Detects the caller's speech.
#[derive(Debug)]
pub(crate) struct Vad(trunkline_dsp::Vad);

impl Vad {
    pub(crate) fn new(rate: u32) -> Self {
        Self(trunkline_dsp::Vad::new(VadConfig::telephone(rate)))
    }

    pub(crate) fn push(&mut self, frame: &[i16]) -> Option<SpeechChange> {
        Some(match self.0.process(frame)? {
            VadEvent::Onset { lag_ms } => SpeechChange { started: true, lag_ms },
            VadEvent::Offset { lag_ms } => SpeechChange { started: false, lag_ms },
        })
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.0.is_quiet()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(down_encoding: Encoding, down_rate: u32) -> EngineFormat {
        EngineFormat { up_encoding: Encoding::Pcm16, up_rate: 16000, down_encoding, down_rate, batch_ms: 40 }
    }

    #[test]
    fn a_sample_may_be_cut_by_a_message_boundary() {
        let mut decoder = EngineDecoder::new(format(Encoding::Pcm16, 8000), 8000);
        let mut pcm = Vec::new();
        decoder.decode("a", &[1, 0, 2], &mut pcm);
        decoder.decode("a", &[0, 3, 0, 4], &mut pcm);
        assert_eq!(pcm, [1, 2, 3]);
        decoder.decode("b", &[5, 0], &mut pcm);
        assert_eq!(pcm, [1, 2, 3, 5]);
    }

    #[test]
    fn codecs_go_both_ways() {
        let pcm = [0, 1000, -1000, 20_000];
        let (mut bytes, mut back) = (Vec::new(), Vec::new());
        for (codec, tolerance) in [(Codec::Pcmu, 600), (Codec::Pcma, 600), (Codec::L16, 0)] {
            encode(codec, &pcm, &mut bytes);
            decode(codec, &bytes, &mut back);
            assert!(pcm.iter().zip(&back).all(|(a, b)| (a - b).abs() <= tolerance), "{codec:?} {back:?}");
        }
        encode_for_engine(Encoding::Pcm16, &pcm, &mut bytes);
        assert_eq!(bytes[2..4], 1000_i16.to_le_bytes());
    }

    #[test]
    fn rates_convert() {
        assert_eq!(resample(&[7; 240], 24000, 8000).len(), 80);
        let mut pcm = Vec::new();
        EngineDecoder::new(format(Encoding::Pcmu, 8000), 16000).decode("", &[0xFF; 80], &mut pcm);
        assert_eq!(pcm, [0; 160]);
    }
}
