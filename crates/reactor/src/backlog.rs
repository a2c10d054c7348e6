//! What waits for an engine that does not read fast enough.

use std::collections::VecDeque;

/// Most caller audio that waits; then the oldest is dropped and counted.
pub const MAX_AUDIO_MS: u64 = 2000;
/// Most control text that waits; then the socket is closed.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// One message that waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// `bytes` of audio at the front of the audio buffer.
    Audio {
        bytes: usize,
        ms: u32,
    },
    Text(String),
}

/// Messages in their order. Audio gives way, text does not.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    messages: VecDeque<Waiting>,
    audio: VecDeque<u8>,
    audio_ms: u64,
    text_bytes: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Adds audio and returns how many milliseconds of older audio were dropped for it.
    pub(crate) fn push_audio(&mut self, bytes: &[u8], ms: u32) -> u64 {
        let before = self.audio_ms + u64::from(ms);
        self.messages.push_back(Waiting::Audio { bytes: bytes.len(), ms });
        self.audio.extend(bytes);
        self.audio_ms = before;
        while self.audio_ms > MAX_AUDIO_MS {
            let oldest = self.messages.iter().position(|message| matches!(message, Waiting::Audio { .. }));
            let Some(Waiting::Audio { bytes, ms }) = oldest.and_then(|index| self.messages.remove(index))
            else {
                break;
            };
            self.audio.drain(..bytes);
            self.audio_ms -= u64::from(ms);
        }
        before - self.audio_ms
    }

    /// Adds text; `false` when it does not fit.
    pub(crate) fn push_text(&mut self, text: String) -> bool {
        self.text_bytes += text.len();
        self.messages.push_back(Waiting::Text(text));
        self.text_bytes <= MAX_TEXT_BYTES
    }

    /// The next message; audio is copied into `audio`.
    pub(crate) fn pop(&mut self, audio: &mut Vec<u8>) -> Option<Waiting> {
        let message = self.messages.pop_front()?;
        match &message {
            Waiting::Audio { bytes, ms } => {
                audio.clear();
                audio.extend(self.audio.drain(..*bytes));
                self.audio_ms -= u64::from(*ms);
            }
            Waiting::Text(text) => self.text_bytes -= text.len(),
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_audio_gives_way_and_text_keeps_its_place() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.push_audio(&[1; 10], 1500), 0);
        assert!(backlog.push_text("a".into()));
        assert_eq!(backlog.push_audio(&[2; 10], 400), 0);
        assert_eq!(backlog.push_audio(&[3; 10], 400), 1500);
        let mut audio = Vec::new();
        assert_eq!(backlog.pop(&mut audio), Some(Waiting::Text("a".into())));
        assert_eq!(backlog.pop(&mut audio), Some(Waiting::Audio { bytes: 10, ms: 400 }));
        assert_eq!(audio, [2; 10]);
        backlog.pop(&mut audio);
        assert_eq!(audio, [3; 10]);
        assert_eq!(backlog.pop(&mut audio), None);
    }

    #[test]
    fn text_is_bounded() {
        let mut backlog = Backlog::default();
        assert!(backlog.push_text("x".repeat(MAX_TEXT_BYTES)));
        assert!(!backlog.push_text("x".into()));
    }
}
