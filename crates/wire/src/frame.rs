//! Frames of RFC 6455 section 5: writing masked client frames, reading server frames.

use std::ops::Range;

/// Opcodes of RFC 6455 section 11.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// The server broke RFC 6455 or one of our bounds. Each maps to a close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A reserved bit is set though no extension was agreed.
    #[error("reserved bits are set")]
    ReservedBits,
    /// An opcode that RFC 6455 does not define.
    #[error("unknown opcode")]
    Opcode,
    /// A server must not mask.
    #[error("a server frame is masked")]
    Masked,
    /// A control frame is fragmented or longer than 125 bytes.
    #[error("a control frame is fragmented or too long")]
    Control,
    /// A continuation without a beginning, or a new message inside an unfinished one.
    #[error("fragments out of order")]
    Fragment,
    /// A length that is not encoded in the shortest form, or above 2^63.
    #[error("bad length encoding")]
    Length,
    /// A text message, or the reason of a close, is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A close frame with a one-byte body or a code that may not be sent.
    #[error("bad close frame")]
    Close,
    /// Longer than the bound that was set for messages.
    #[error("message is longer than allowed")]
    TooBig,
}

impl FrameError {
    /// Close code that tells the server about it (RFC 6455 section 7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Utf8 => 1007,
            Self::TooBig => 1009,
            _ => 1002,
        }
    }
}

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Appends one final client frame of `len` bytes, written by `payload`, and masks it.
///
/// # Panics
/// When `payload` does not append exactly `len` bytes: the callers in this crate compute it.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    opcode: Opcode,
    len: usize,
    mask: [u8; 4],
    payload: impl FnOnce(&mut Vec<u8>),
) {
    out.reserve(len + 14);
    out.push(FINAL | opcode as u8);
    match len {
        0..=125 => out.push(MASKED | len as u8),
        126..=0xFFFF => {
            out.push(MASKED | 0x7E);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(MASKED | 0x7F);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    payload(out);
    assert_eq!(out.len() - start, len, "a frame's length is computed before its payload is written");
    apply_mask(&mut out[start..], mask);
}

fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    let key = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// Where the payload of a [`Unit`] lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the read buffer: an unfragmented message or a control frame.
    Buffer(Range<usize>),
    /// All of the assembly buffer: a message that came in fragments.
    Assembly,
}

/// One whole message or control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) opcode: Opcode,
    pub(crate) place: Place,
}

/// Streaming decoder of server frames.
///
/// The read buffer starts at 16 KiB and grows only for a frame that does not fit, at most to the
/// message bound plus a header; it never shrinks, so a stream of like messages stops allocating
/// after the first.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes the frame at `start` needs in all, once known.
    wanted: usize,
    assembly: Vec<u8>,
    fragmented: Option<Opcode>,
    max_message: usize,
}

const INITIAL_BUFFER: usize = 16 * 1024;
const MAX_HEADER: usize = 10;

impl Decoder {
    pub(crate) fn new(max_message: usize) -> Self {
        Self {
            buffer: vec![0; INITIAL_BUFFER],
            start: 0,
            end: 0,
            wanted: 0,
            assembly: Vec::new(),
            fragmented: None,
            max_message,
        }
    }

    /// Free space to read into; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let wanted = self.wanted.max(1);
        if self.start + wanted > self.buffer.len() || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted, 0);
        }
        if self.end == self.buffer.len() {
            // Only the handshake's head can fill the buffer without a frame length being known.
            self.buffer.resize(self.end + INITIAL_BUFFER, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// `count` bytes were read into the space.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.buffer.len());
    }

    /// Bytes read and not yet consumed.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    pub(crate) fn payload(&self, place: &Place) -> &[u8] {
        match place {
            Place::Buffer(range) => &self.buffer[range.clone()],
            Place::Assembly => &self.assembly,
        }
    }

    /// The next whole message or control frame, if it has arrived. Its payload stays valid until
    /// the next call of `next` or `space`.
    pub(crate) fn next(&mut self) -> Result<Option<Unit>, FrameError> {
        while let Some((header, payload)) = self.frame()? {
            if let Some(unit) = self.accept(header, payload)? {
                return Ok(Some(unit));
            }
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<(Header, Range<usize>)>, FrameError> {
        let Some(header) = Header::parse(self.pending())? else {
            self.wanted = MAX_HEADER;
            return Ok(None);
        };
        let held = if header.opcode == Opcode::Continuation { self.assembly.len() } else { 0 };
        if header.len > (self.max_message - held.min(self.max_message)) as u64 {
            return Err(FrameError::TooBig);
        }
        self.wanted = header.size + header.len as usize;
        if self.pending().len() < self.wanted {
            return Ok(None);
        }
        let begin = self.start + header.size;
        self.start += self.wanted;
        let range = begin..self.start;
        self.wanted = 0;
        Ok(Some((header, range)))
    }

    fn accept(&mut self, header: Header, payload: Range<usize>) -> Result<Option<Unit>, FrameError> {
        let whole = |opcode| Ok(Some(Unit { opcode, place: Place::Buffer(payload.clone()) }));
        match (header.opcode, self.fragmented, header.fin) {
            (Opcode::Continuation, None, _) | (Opcode::Text | Opcode::Binary, Some(_), _) => {
                Err(FrameError::Fragment)
            }
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _, _)
            | (Opcode::Text | Opcode::Binary, None, true) => whole(header.opcode),
            (Opcode::Text | Opcode::Binary, None, false) => {
                self.fragmented = Some(header.opcode);
                self.assembly.clear();
                self.assembly.extend_from_slice(&self.buffer[payload]);
                Ok(None)
            }
            (Opcode::Continuation, Some(opcode), fin) => {
                self.assembly.extend_from_slice(&self.buffer[payload]);
                if !fin {
                    return Ok(None);
                }
                self.fragmented = None;
                Ok(Some(Unit { opcode, place: Place::Assembly }))
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Header {
    fin: bool,
    opcode: Opcode,
    len: u64,
    size: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(FrameError::ReservedBits);
        }
        let opcode = match first & 0x0F {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(FrameError::Opcode),
        };
        let fin = first & 0x80 != 0;
        if second & 0x80 != 0 {
            return Err(FrameError::Masked);
        }
        let short = second & 0x7F;
        if first & 0x08 != 0 && (!fin || short > 125) {
            return Err(FrameError::Control);
        }
        let (len, size) = match short {
            126 => match rest.first_chunk::<2>() {
                Some(&bytes) => (u64::from(u16::from_be_bytes(bytes)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(&bytes) => (u64::from_be_bytes(bytes), 10),
                None => return Ok(None),
            },
            _ => (u64::from(short), 2),
        };
        let shortest = match size {
            4 => len > 125,
            10 => len > 0xFFFF && len >> 63 == 0,
            _ => true,
        };
        if shortest { Ok(Some(Self { fin, opcode, len, size })) } else { Err(FrameError::Length) }
    }
}

/// Code and reason of a close frame's body; 1005 when it has none.
pub(crate) fn parse_close(body: &[u8]) -> Result<(u16, &str), FrameError> {
    let Some((&code, reason)) = body.split_first_chunk::<2>() else {
        return if body.is_empty() { Ok((1005, "")) } else { Err(FrameError::Close) };
    };
    let code = u16::from_be_bytes(code);
    let sendable = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !sendable {
        return Err(FrameError::Close);
    }
    Ok((code, std::str::from_utf8(reason).map_err(|_| FrameError::Utf8)?))
}
