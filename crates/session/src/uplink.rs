//! The caller's audio on its way out of the session: to the engine, to taps, into the recording.

use crate::audio::{self, Resampler};
use crate::types::{EngineFormat, RECORD_FRAME, Sink, StereoFrame};

/// Cuts a stream of 20 ms frames into batches at another rate.
#[derive(Debug)]
pub(crate) struct Batcher {
    resampler: Resampler,
    rate: u32,
    batch: usize,
    pcm: Vec<i16>,
}

impl Batcher {
    pub(crate) fn new(from: u32, to: u32, batch_ms: u32) -> Self {
        let batch = (to * batch_ms / 1000) as usize;
        let room = batch + (to / 10) as usize;
        Self { resampler: Resampler::new(from, to), rate: to, batch, pcm: Vec::with_capacity(room) }
    }

    pub(crate) fn push(&mut self, frame: &[i16], mut deliver: impl FnMut(&[i16])) {
        self.resampler.process(frame, &mut self.pcm);
        while self.pcm.len() >= self.batch {
            deliver(&self.pcm[..self.batch]);
            self.pcm.copy_within(self.batch.., 0);
            self.pcm.truncate(self.pcm.len() - self.batch);
        }
    }

    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }

    pub(crate) fn batch_ms(&self) -> u32 {
        (self.batch as u64 * 1000 / u64::from(self.rate)) as u32
    }
}

/// Caller audio for the engine's socket.
#[derive(Debug)]
pub(crate) struct EngineUplink {
    format: EngineFormat,
    batcher: Batcher,
    encoded: Vec<u8>,
}

impl EngineUplink {
    pub(crate) fn new(leg_rate: u32, format: EngineFormat) -> Self {
        let encoded = Vec::with_capacity((format.up_rate * format.batch_ms / 1000) as usize * 2);
        Self { format, batcher: Batcher::new(leg_rate, format.up_rate, format.batch_ms), encoded }
    }

    pub(crate) fn format(&self) -> &EngineFormat {
        &self.format
    }

    pub(crate) fn push(&mut self, frame: &[i16], sink: &mut impl Sink) {
        let Self { format, batcher, encoded } = self;
        batcher.push(frame, |pcm| {
            audio::encode_for_engine(format.up_encoding, pcm, encoded);
            sink.engine_audio(encoded, format.batch_ms);
        });
    }
}

/// Both sides of the call at 8 kHz, in step.
#[derive(Debug)]
pub(crate) struct RecordingTap {
    caller: Channel,
    ours: Channel,
}

#[derive(Debug)]
struct Channel {
    resampler: Resampler,
    pcm: Vec<i16>,
}

impl RecordingTap {
    pub(crate) fn new(leg_rate: u32) -> Self {
        let channel = || Channel {
            resampler: Resampler::new(leg_rate, 8000),
            pcm: Vec::with_capacity(RECORD_FRAME * 4),
        };
        Self { caller: channel(), ours: channel() }
    }

    pub(crate) fn push(&mut self, caller: &[i16], ours: &[i16], sink: &mut impl Sink) {
        self.caller.resampler.process(caller, &mut self.caller.pcm);
        self.ours.resampler.process(ours, &mut self.ours.pcm);
        while let (Some(left), Some(right)) =
            (self.caller.pcm.first_chunk::<RECORD_FRAME>(), self.ours.pcm.first_chunk::<RECORD_FRAME>())
        {
            sink.record(&StereoFrame { caller: *left, ours: *right });
            for pcm in [&mut self.caller.pcm, &mut self.ours.pcm] {
                pcm.copy_within(RECORD_FRAME.., 0);
                pcm.truncate(pcm.len() - RECORD_FRAME);
            }
        }
    }
}
