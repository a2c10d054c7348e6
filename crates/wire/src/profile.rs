//! Wire profiles: where the audio travels on an engine's WebSocket, both ways.

use crate::base64;
use crate::client::{self, Incoming};
use crate::frame::{self, Opcode};
use crate::json::{self, BadAudio, JsonKeys, Kind, Scratch};

/// How audio travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialect {
    /// Binary frames are audio both ways, text frames are not.
    Binary,
    /// JSON text with base64 audio.
    Json {
        /// Where the audio sits in messages from the engine.
        down: JsonKeys,
        /// Text in front of the base64 of caller audio.
        up_prefix: String,
        /// Text behind it.
        up_suffix: String,
    },
}

/// A message of the engine, sorted.
#[derive(Debug, PartialEq, Eq)]
pub enum Sorted<'a> {
    /// Audio for the caller, in the socket's encoding.
    Audio {
        /// The item it belongs to; empty when the dialect names none.
        item: &'a str,
        /// The encoded samples.
        bytes: &'a [u8],
    },
    /// For Python.
    Text(&'a str),
    /// Dropped: says it is audio and is not.
    Bad(BadAudio),
}

/// A dialect with the buffers it decodes into.
#[derive(Debug)]
pub struct Profile {
    dialect: Dialect,
    scratch: Scratch,
}

impl Profile {
    /// Ready for the first message.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, scratch: Scratch::default() }
    }

    /// Tells audio from text. `None` for what is not a message.
    pub fn sort<'a>(&'a mut self, incoming: &'a Incoming<'_>) -> Option<Sorted<'a>> {
        match (incoming, &self.dialect) {
            (Incoming::Binary(bytes), Dialect::Binary) => Some(Sorted::Audio { item: "", bytes }),
            // Some engines send their JSON in binary frames.
            (Incoming::Binary(bytes), Dialect::Json { .. }) => Some(match std::str::from_utf8(bytes) {
                Ok(text) => self.sort_json(text),
                Err(_) => Sorted::Bad(BadAudio::Missing),
            }),
            (Incoming::Text(text), Dialect::Binary) => Some(Sorted::Text(text)),
            (Incoming::Text(text), Dialect::Json { .. }) => Some(self.sort_json(text)),
            _ => None,
        }
    }

    fn sort_json<'a>(&'a mut self, text: &'a str) -> Sorted<'a> {
        let Dialect::Json { down, .. } = &self.dialect else {
            return Sorted::Text(text);
        };
        match json::classify(text, down, &mut self.scratch) {
            Ok(Kind::Audio) => Sorted::Audio { item: &self.scratch.item, bytes: &self.scratch.audio },
            Ok(Kind::Other) => Sorted::Text(text),
            Err(error) => Sorted::Bad(error),
        }
    }

    /// Appends one frame with caller audio in the socket's encoding.
    pub fn write_audio(&self, bytes: &[u8], out: &mut Vec<u8>, mask: [u8; 4]) {
        match &self.dialect {
            Dialect::Binary => client::write_binary(out, bytes, mask),
            Dialect::Json { up_prefix, up_suffix, .. } => {
                let len = up_prefix.len() + base64::encoded_len(bytes.len()) + up_suffix.len();
                frame::encode(out, Opcode::Text, len, mask, |out| {
                    out.extend_from_slice(up_prefix.as_bytes());
                    base64::encode(bytes, out);
                    out.extend_from_slice(up_suffix.as_bytes());
                });
            }
        }
    }
}
