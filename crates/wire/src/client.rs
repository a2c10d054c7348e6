//! One WebSocket connection from the client's side, without the socket.

use crate::frame::{self, Decoder, FrameError, Opcode, Place};
use crate::handshake::{self, HandshakeError, Request, RequestError};

/// Where the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The handshake response is awaited.
    Connecting,
    /// Messages flow.
    Open,
    /// We sent a close frame and await the server's.
    Closing,
    /// Over; the socket may be shut when everything written has left.
    Closed,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Close code of RFC 6455 section 7.4; 1005 when the server's frame had none.
    pub code: u16,
    /// Close reason or description of what went wrong.
    pub reason: String,
    /// We began the closing.
    pub by_us: bool,
}

/// What came out of the bytes received.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The handshake succeeded with this subprotocol (empty: none).
    Opened {
        /// Chosen subprotocol.
        subprotocol: String,
    },
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// The server refused or garbled the handshake; the connection is over.
    Refused(HandshakeError),
    /// The connection is over; what was appended to the output should still be sent.
    Closed(Closed),
}

/// A client connection: bytes in, messages out; messages in, bytes out.
///
/// Write what [`Client::new`] returns to the socket. Then, whenever the socket is readable, read
/// into [`Client::space`], say how much with [`Client::filled`], and call [`Client::poll`] until it
/// returns `None`; it may append pongs and close frames to `out`, which are to be sent in order.
#[derive(Debug)]
pub struct Client {
    state: State,
    nonce: [u8; 16],
    offered: Vec<String>,
    decoder: Decoder,
    closing: Option<(u16, String)>,
}

impl Client {
    /// A connection about to be made, and the request that opens it.
    ///
    /// # Errors
    /// The request holds what HTTP does not allow.
    pub fn new(
        request: &Request,
        nonce: [u8; 16],
        max_message_bytes: usize,
    ) -> Result<(Self, Vec<u8>), RequestError> {
        let bytes = request.encode(nonce)?;
        let client = Self {
            state: State::Connecting,
            nonce,
            offered: request.subprotocols.clone(),
            decoder: Decoder::new(max_message_bytes),
            closing: None,
        };
        Ok((client, bytes))
    }

    /// Where the connection is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Buffer space for the next read; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        self.decoder.space()
    }

    /// `count` bytes were read into the space.
    pub fn filled(&mut self, count: usize) {
        self.decoder.filled(count);
    }

    /// The next thing that arrived. `mask` gives an unpredictable key for each frame sent.
    pub fn poll(&mut self, out: &mut Vec<u8>, mask: &mut impl FnMut() -> [u8; 4]) -> Option<Incoming<'_>> {
        match self.state {
            State::Connecting => self.poll_handshake(),
            State::Open | State::Closing => self.poll_frames(out, mask),
            State::Closed => None,
        }
    }

    fn poll_handshake(&mut self) -> Option<Incoming<'_>> {
        match handshake::parse_response(self.decoder.pending(), self.nonce, &self.offered) {
            Ok(None) => None,
            Ok(Some((used, accepted))) => {
                self.decoder.consume(used);
                self.state = State::Open;
                Some(Incoming::Opened { subprotocol: accepted.subprotocol })
            }
            Err(error) => {
                self.state = State::Closed;
                Some(Incoming::Refused(error))
            }
        }
    }

    fn poll_frames(&mut self, out: &mut Vec<u8>, mask: &mut impl FnMut() -> [u8; 4]) -> Option<Incoming<'_>> {
        let place = loop {
            let unit = match self.decoder.next() {
                Ok(unit) => unit?,
                Err(error) => return Some(self.fail(error, out, mask)),
            };
            match unit.opcode {
                Opcode::Ping => {
                    if self.state == State::Open {
                        let body = self.decoder.payload(&unit.place);
                        frame::encode(out, Opcode::Pong, body.len(), mask(), |out| {
                            out.extend_from_slice(body);
                        });
                    }
                }
                Opcode::Close => return Some(self.closed_by_server(&unit.place, out, mask)),
                // What still arrives after our close frame is of no interest to anybody.
                Opcode::Text if self.state == State::Open => break (unit.place, true),
                Opcode::Binary if self.state == State::Open => break (unit.place, false),
                Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
            }
        };
        let (place, is_text) = place;
        if is_text && std::str::from_utf8(self.decoder.payload(&place)).is_err() {
            return Some(self.fail(FrameError::Utf8, out, mask));
        }
        let payload = self.decoder.payload(&place);
        Some(match std::str::from_utf8(payload) {
            Ok(text) if is_text => Incoming::Text(text),
            _ => Incoming::Binary(payload),
        })
    }

    fn closed_by_server(
        &mut self,
        place: &Place,
        out: &mut Vec<u8>,
        mask: &mut impl FnMut() -> [u8; 4],
    ) -> Incoming<'static> {
        let (code, reason) = match frame::parse_close(self.decoder.payload(place)) {
            Ok((code, reason)) => (code, reason.to_owned()),
            Err(error) => return self.fail(error, out, mask),
        };
        self.state = State::Closed;
        if let Some((code, reason)) = self.closing.take() {
            return Incoming::Closed(Closed { code, reason, by_us: true });
        }
        let echo = if code == 1005 { 1000 } else { code };
        write_close(out, echo, "", mask());
        Incoming::Closed(Closed { code, reason, by_us: false })
    }

    fn fail(
        &mut self,
        error: FrameError,
        out: &mut Vec<u8>,
        mask: &mut impl FnMut() -> [u8; 4],
    ) -> Incoming<'static> {
        if self.state == State::Open {
            write_close(out, error.close_code(), "", mask());
        }
        self.state = State::Closed;
        let (code, reason) = self.closing.take().unwrap_or_else(|| (error.close_code(), error.to_string()));
        Incoming::Closed(Closed { code, reason, by_us: true })
    }

    /// Appends a text message. Nothing is written unless the connection is open.
    pub fn send_text(&mut self, text: &str, out: &mut Vec<u8>, mask: [u8; 4]) {
        if self.state == State::Open {
            write_text(out, text, mask);
        }
    }

    /// Begins the closing handshake; the server's answer arrives as [`Incoming::Closed`].
    pub fn close(&mut self, code: u16, reason: &str, out: &mut Vec<u8>, mask: [u8; 4]) {
        match self.state {
            State::Open => {
                write_close(out, code, reason, mask);
                self.closing = Some((code, reason.to_owned()));
                self.state = State::Closing;
            }
            State::Connecting => self.state = State::Closed,
            State::Closing | State::Closed => {}
        }
    }
}

fn write_close(out: &mut Vec<u8>, code: u16, reason: &str, mask: [u8; 4]) {
    // A control frame holds 125 bytes: two for the code, the rest for a whole number of characters.
    let end = (0..=reason.len().min(123)).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    let reason = &reason[..end];
    frame::encode(out, Opcode::Close, 2 + reason.len(), mask, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(reason.as_bytes());
    });
}

/// Appends a text message as one masked frame.
pub fn write_text(out: &mut Vec<u8>, text: &str, mask: [u8; 4]) {
    frame::encode(out, Opcode::Text, text.len(), mask, |out| out.extend_from_slice(text.as_bytes()));
}

/// Appends a binary message as one masked frame.
pub fn write_binary(out: &mut Vec<u8>, bytes: &[u8], mask: [u8; 4]) {
    frame::encode(out, Opcode::Binary, bytes.len(), mask, |out| out.extend_from_slice(bytes));
}
