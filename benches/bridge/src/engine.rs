//! The AI's side: a WebSocket server that says back what it hears.
//!
//! Control is the Realtime dialect's JSON. Audio is JSON too, in the format that `session.update` asks
//! for, or, on the path `/pcm?rate=16000`, raw PCM in binary messages. What it hears is read for marks.

use std::io::{self, Read, Write};
use std::ops::Range;

use mio::net::TcpStream;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use trunkline_dsp::g711::Law;
use trunkline_dsp::l16;
use trunkline_wire::base64;

use crate::marker::{Mark, Reader};
use crate::meter::{Astray, CallFrames, Meter};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const APPEND: &str = r#"{"type":"input_audio_buffer.append","audio":""#;
/// Echoed audio messages in one conversation item: 10 s in pieces of 40 ms.
const PIECES: u32 = 250;
/// A gateway that does not read is cut off at this many waiting bytes.
const MAX_OUT: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Pcm { rate: u32 },
    Law(Law),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshake,
    Binary,
    Json,
}

/// One engine session.
pub(crate) struct Session {
    pub(crate) stream: TcpStream,
    state: State,
    format: Format,
    input: Vec<u8>,
    output: Vec<u8>,
    reader: Reader,
    caller: Caller,
    pieces: u32,
    item: u32,
    breath: Range<u64>,
    astray: Astray,
    scratch: Scratch,
}

/// Reused from message to message.
#[derive(Default)]
struct Scratch {
    audio: Vec<u8>,
    pcm: Vec<i16>,
    marks: Vec<(Mark, u64)>,
}

/// Whose audio this is: known after three frames in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Caller {
    call: Option<usize>,
    nibbles: [Option<u8>; 3],
}

impl Caller {
    fn learn(&mut self, mark: Mark) {
        self.nibbles[usize::from(mark.frame % 3)] = Some(mark.call_nibble);
        if let [Some(low), Some(middle), Some(high)] = self.nibbles {
            self.call = Some(usize::from(low) | usize::from(middle) << 4 | usize::from(high) << 8);
        }
    }
}

/// The engine is over: closed by the gateway, or by us because of an error.
pub(crate) struct Over;

impl Session {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Without it small messages would wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            state: State::Handshake,
            format: Format::Law(Law::Mu),
            input: Vec::with_capacity(16_384),
            output: Vec::new(),
            reader: Reader::default(),
            caller: Caller::default(),
            pieces: 0,
            item: 0,
            breath: 0..0,
            astray: Astray::default(),
            scratch: Scratch::default(),
        }
    }

    /// Reads and answers everything that is there.
    pub(crate) fn ready(
        &mut self,
        now: impl Fn() -> u64,
        meter: &mut Meter,
        frames: &mut [CallFrames],
    ) -> Result<(), Over> {
        loop {
            let mut buffer = [0; 16_384];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Over),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Over),
            }
        }
        let heard = now();
        if self.state == State::Handshake {
            self.handshake()?;
        }
        let mut at = 0;
        while self.state != State::Handshake
            && let Some((opcode, range)) = unmask(&mut self.input, at)
        {
            at = range.end;
            self.message(opcode, range, heard)?;
        }
        self.input.drain(..at);
        self.flush()?;
        self.count(now().saturating_sub(heard), meter, frames);
        Ok(())
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> Result<(), Over> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(Over),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Over),
            }
        }
        if self.output.len() > MAX_OUT { Err(Over) } else { Ok(()) }
    }

    /// Books the marks that were read; their echo left `took` nanoseconds after they were heard.
    fn count(&mut self, took: u64, meter: &mut Meter, frames: &mut [CallFrames]) {
        for (mark, heard) in self.scratch.marks.drain(..) {
            let Some(call) = self.caller.call else {
                self.caller.learn(mark);
                continue;
            };
            match frames.get_mut(call) {
                Some(frames) if self.astray.is_ours(call, mark, meter) => {
                    meter.frame_echoed(frames, mark.frame, heard, heard + took);
                }
                _ => {}
            }
        }
    }

    fn handshake(&mut self) -> Result<(), Over> {
        let Some(end) = self.input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if self.input.len() > 8192 { Err(Over) } else { Ok(()) };
        };
        let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
        self.input.drain(..end + 4);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("Sec-WebSocket-Key").then(|| value.trim())
        });
        let mut accept = Vec::new();
        let digest = Sha1::digest(format!("{}{GUID}", key.ok_or(Over)?));
        base64::encode(&digest, &mut accept);
        let accept = String::from_utf8(accept).map_err(|_| Over)?;
        self.output.extend_from_slice(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .as_bytes(),
        );
        if path.starts_with("/pcm") {
            let rate = path.split("rate=").nth(1).and_then(|text| text.split('&').next()?.parse().ok());
            self.state = State::Binary;
            self.format = Format::Pcm { rate: rate.unwrap_or(16_000) };
        } else {
            self.state = State::Json;
        }
        self.say(&json!({"type": "session.created", "session": {"type": "realtime"}}));
        Ok(())
    }

    fn message(&mut self, opcode: u8, range: Range<usize>, heard: u64) -> Result<(), Over> {
        match (opcode, self.state) {
            (1, state) => {
                let text = std::str::from_utf8(&self.input[range.clone()]).map_err(|_| Over)?;
                if let Some(rest) = text.strip_prefix(APPEND).filter(|_| state == State::Json) {
                    let length = rest.find('"').ok_or(Over)?;
                    let start = range.start + APPEND.len();
                    self.echo_json(start..start + length, heard)?;
                } else {
                    let message = serde_json::from_str(text).map_err(|_| Over)?;
                    self.command(&message);
                }
            }
            (2, State::Binary) => {
                self.scratch.audio.clear();
                self.scratch.audio.extend_from_slice(&self.input[range.clone()]);
                self.listen(heard);
                if !self.breath.contains(&heard) {
                    header(&mut self.output, 2, range.len());
                    self.output.extend_from_slice(&self.input[range]);
                }
            }
            (9, _) => {
                header(&mut self.output, 10, range.len());
                self.output.extend_from_slice(&self.input[range]);
            }
            (8, _) => {
                header(&mut self.output, 8, range.len());
                self.output.extend_from_slice(&self.input[range]);
                self.flush()?;
                return Err(Over);
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends the audio back as a part of an answer.
    fn echo_json(&mut self, audio: Range<usize>, heard: u64) -> Result<(), Over> {
        self.scratch.audio.clear();
        base64::decode(&self.input[audio.clone()], &mut self.scratch.audio).map_err(|_| Over)?;
        self.listen(heard);
        if self.breath.contains(&heard) {
            return Ok(());
        }
        if self.pieces == PIECES {
            self.end_answer();
        }
        if self.pieces == 0 {
            self.begin_answer();
        }
        self.pieces += 1;
        let item = self.item;
        let opening = format!(
            r#"{{"type":"response.output_audio.delta","event_id":"e{item}_{}","response_id":"r{item}","item_id":"i{item}","output_index":0,"content_index":0,"delta":""#,
            self.pieces
        );
        header(&mut self.output, 1, opening.len() + audio.len() + 2);
        self.output.extend_from_slice(opening.as_bytes());
        self.output.extend_from_slice(&self.input[audio.clone()]);
        self.output.extend_from_slice(br#""}"#);
        Ok(())
    }

    /// Says when the echo is to be silent. An echo never catches up: audio that was queued while calls
    /// were set up would otherwise count as the gateway's delay for ever.
    pub(crate) fn breathe(&mut self, breath: Range<u64>) {
        self.breath = breath;
    }

    /// Reads the marks in `scratch.audio`.
    fn listen(&mut self, heard: u64) {
        let Scratch { audio, pcm, marks } = &mut self.scratch;
        pcm.resize(audio.len(), 0);
        let (count, step) = match self.format {
            Format::Law(law) => (law.decode(audio, pcm), 1),
            // The phone's audio ends at 4 kHz, so leaving out samples folds nothing.
            Format::Pcm { rate } => (l16::decode_le(audio, pcm), (rate / 8000).max(1) as usize),
        };
        let narrow = count / step;
        for index in 0..narrow {
            pcm[index] = pcm[index * step];
        }
        self.reader.feed(&pcm[..narrow], heard, |found| marks.push((found.mark, found.at)));
    }

    fn command(&mut self, message: &Value) {
        match message["type"].as_str().unwrap_or_default() {
            "session.update" => {
                let format = &message["session"]["audio"]["input"]["format"];
                self.format = match format["type"].as_str() {
                    _ if self.state == State::Binary => self.format,
                    Some("audio/pcma") => Format::Law(Law::A),
                    Some("audio/pcm") => {
                        Format::Pcm { rate: format["rate"].as_u64().unwrap_or(24_000) as u32 }
                    }
                    _ => Format::Law(Law::Mu),
                };
                self.say(&json!({"type": "session.updated", "session": message["session"]}));
            }
            // Nothing to say beyond the echo: an empty answer.
            "response.create" => {
                let metadata = &message["response"]["metadata"];
                let response =
                    json!({"id": "empty", "status": "in_progress", "metadata": metadata, "output": []});
                self.say(&json!({"type": "response.created", "response": response}));
                let response =
                    json!({"id": "empty", "status": "completed", "metadata": metadata, "output": []});
                self.say(&json!({"type": "response.done", "response": response}));
            }
            _ => {}
        }
    }

    fn begin_answer(&mut self) {
        self.item += 1;
        let (response, item) = (format!("r{}", self.item), format!("i{}", self.item));
        self.say(&json!({"type": "response.created", "response": {"id": response, "status": "in_progress"}}));
        self.say(&json!({"type": "response.output_item.added", "response_id": response, "output_index": 0,
                         "item": {"id": item, "type": "message", "role": "assistant"}}));
        self.say(&json!({"type": "response.content_part.added", "response_id": response, "item_id": item,
                         "output_index": 0, "content_index": 0, "part": {"type": "audio"}}));
    }

    fn end_answer(&mut self) {
        self.pieces = 0;
        let (response, item) = (format!("r{}", self.item), format!("i{}", self.item));
        self.say(&json!({"type": "response.output_audio.done", "response_id": response, "item_id": item}));
        self.say(&json!({"type": "response.done", "response": {"id": response, "status": "completed"}}));
    }

    fn say(&mut self, message: &Value) {
        let text = message.to_string();
        header(&mut self.output, 1, text.len());
        self.output.extend_from_slice(text.as_bytes());
    }
}

/// Header of an unmasked, unfragmented frame.
fn header(output: &mut Vec<u8>, opcode: u8, length: usize) {
    output.push(0x80 | opcode);
    match length {
        0..=125 => output.push(length as u8),
        126..=0xFFFF => {
            output.push(126);
            output.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            output.push(127);
            output.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// The next whole frame of a client at `at`: opcode and place of its payload, unmasked in place.
fn unmask(input: &mut [u8], at: usize) -> Option<(u8, Range<usize>)> {
    let head = input.get(at..at + 2)?;
    let (opcode, short) = (head[0] & 0x0F, usize::from(head[1] & 0x7F));
    let (length, mask_at) = match short {
        126 => {
            let bytes = input.get(at + 2..at + 4)?;
            (usize::from(u16::from_be_bytes([bytes[0], bytes[1]])), at + 4)
        }
        127 => {
            let bytes: [u8; 8] = input.get(at + 2..at + 10)?.try_into().ok()?;
            (u64::from_be_bytes(bytes) as usize, at + 10)
        }
        _ => (short, at + 2),
    };
    let start = mask_at + 4;
    let mask: [u8; 4] = input.get(mask_at..start)?.try_into().ok()?;
    let payload = input.get_mut(start..start.checked_add(length)?)?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Some((opcode, start..start + length))
}

#[cfg(test)]
mod tests {
    use super::{Caller, header, unmask};
    use crate::marker::Mark;

    #[test]
    fn client_frames_are_unmasked_whole_or_not_at_all() {
        let mut input = vec![];
        trunkline_wire::write_text(&mut input, &"x".repeat(300), [1, 2, 3, 4]);
        trunkline_wire::write_binary(&mut input, &[9, 8], [5, 6, 7, 8]);
        for cut in 0..308 {
            assert!(unmask(&mut input[..cut].to_vec(), 0).is_none(), "{cut}");
        }
        let (opcode, range) = unmask(&mut input, 0).unwrap();
        assert_eq!((opcode, &input[range.clone()]), (1, "x".repeat(300).as_bytes()));
        let (opcode, range) = unmask(&mut input, range.end).unwrap();
        assert_eq!((opcode, &input[range]), (2, &[9, 8][..]));
    }

    #[test]
    fn headers_have_the_shortest_form() {
        for (length, bytes) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut output = vec![];
            header(&mut output, 2, length);
            assert_eq!(output.len(), bytes, "{length}");
        }
    }

    #[test]
    fn three_frames_tell_the_call() {
        let mut caller = Caller::default();
        for frame in 100..103 {
            assert_eq!(caller.call, None);
            caller.learn(Mark::of(0x9A7, frame));
        }
        assert_eq!(caller.call, Some(0x9A7));
    }
}
