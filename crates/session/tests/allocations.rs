//! The 20 ms path allocates nothing: RTP in, engine out, engine in, playout, recording, reports.
#![expect(clippy::unwrap_used, reason = "a failing step of a test should say so at once")]

mod common;

use std::net::SocketAddr;

use common::{TICK, config, parameters, sine};
use trunkline_rtp::RtpSender;
use trunkline_session::{Codec, Encoding, EngineFormat, Nanos, Session, SessionEvent, Sink, StereoFrame};
use trunkline_testalloc::{CountingAllocator, allocations_in};
use trunkline_wire::{Client, Dialect, Incoming, JsonKeys, Profile, Request, Sorted, handshake};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const NONCE: [u8; 16] = [3; 16];
const TICKS: u64 = 10_000;

/// Takes everything as the reactor does: audio into the socket's frames, the rest away.
struct Wire<'a> {
    profile: &'a Profile,
    out: &'a mut Vec<u8>,
    recorded: u64,
    sent: u64,
    engine_ms: u64,
}

impl Sink for Wire<'_> {
    fn send_rtp(&mut self, _: SocketAddr, _: &[u8]) {
        self.sent += 1;
    }

    fn send_rtcp(&mut self, _: SocketAddr, _: &[u8], _: bool) {}

    fn engine_audio(&mut self, encoded: &[u8], ms: u32) {
        self.out.clear();
        self.profile.write_audio(encoded, self.out, [1, 2, 3, 4]);
        self.engine_ms += u64::from(ms);
    }

    fn tap(&mut self, _: &[i16], _: u32) {}

    fn record(&mut self, frame: &StereoFrame) {
        self.recorded += frame.ours.len() as u64;
    }

    fn event(&mut self, _: SessionEvent<'_>) {}
}

fn open_client() -> Client {
    let request = Request { host: "engine".into(), ..Request::default() };
    let (mut client, _) = Client::new(&request, NONCE, 1 << 20).unwrap();
    let head = format!(
        "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        handshake::accept_of(NONCE)
    );
    client.space()[..head.len()].copy_from_slice(head.as_bytes());
    client.filled(head.len());
    assert!(matches!(client.poll(&mut Vec::new(), &mut || [0; 4]), Some(Incoming::Opened { .. })));
    client
}

fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 126];
    frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn run(dialect: Dialect, frame: &[u8], format: EngineFormat, codec: Codec) {
    let peer: SocketAddr = "192.0.2.2:5000".parse().unwrap();
    let mut session = Session::new(Nanos::ZERO, config(1));
    session.connect(Nanos::ZERO, parameters(peer, codec));
    session.engine_opened(format);
    session.set_recording(true);
    session.open_tap(16000, 40);
    let mut client = open_client();
    let mut profile = Profile::new(dialect);
    let (mut out, mut pongs) = (Vec::new(), Vec::new());
    let mut stream = RtpSender::new(9, 0, 0);
    let (mut recorded, mut sent, mut engine_ms) = (0, 0, 0);
    let mut call = |from: u64, to: u64| {
        for tick in from..to {
            let now = Nanos(tick * TICK.0);
            let mut datagram = [0x55; 172];
            stream
                .write_audio(if codec == Codec::Pcmu { 0 } else { 8 }, 160, &[0x33; 160], &mut datagram)
                .unwrap();
            client.space()[..frame.len()].copy_from_slice(frame);
            client.filled(frame.len());
            while let Some(incoming) = client.poll(&mut pongs, &mut || [5; 4]) {
                if let Some(Sorted::Audio { item, bytes }) = profile.sort(&incoming) {
                    session.handle_engine_audio(item, bytes);
                }
            }
            let mut sink = Wire { profile: &profile, out: &mut out, recorded: 0, sent: 0, engine_ms: 0 };
            // Every 50th packet is lost, so that concealment is on the path as well.
            if tick % 50 != 0 {
                session.handle_rtp(now, peer, &datagram, &mut sink);
            }
            session.tick(now, &mut sink);
            recorded += sink.recorded;
            sent += sink.sent;
            engine_ms += sink.engine_ms;
        }
    };
    // Every buffer reaches its size within the first seconds.
    call(1, 500);
    let ((), counted) = allocations_in(|| call(500, 500 + TICKS));
    assert_eq!(counted, 0);
    assert_eq!(sent, 499 + TICKS);
    assert_eq!(recorded, (499 + TICKS) * 160);
    assert!(engine_ms >= (498 + TICKS) * 20);
    assert!(session.stats().concealed_ms > 0);
}

#[test]
fn binary_profile() {
    let frame = server_frame(0x82, &sine(440.0, 20, 16000, 9000.0));
    let format = EngineFormat {
        up_encoding: Encoding::Pcm16,
        up_rate: 16000,
        down_encoding: Encoding::Pcm16,
        down_rate: 16000,
        batch_ms: 40,
    };
    run(Dialect::Binary, &frame, format, Codec::Pcmu);
}

#[test]
fn json_profile() {
    let mut audio = Vec::new();
    trunkline_wire::base64::encode(&sine(440.0, 20, 24000, 9000.0), &mut audio);
    let audio = String::from_utf8(audio).unwrap();
    let message = format!(
        r#"{{"event_id":"e","type":"response.output_audio.delta","x":[1,{{"y":2}}],"item_id":"item_1","delta":"{audio}"}}"#
    );
    let frame = server_frame(0x81, message.as_bytes());
    let dialect = Dialect::Json {
        down: JsonKeys {
            type_key: "type".into(),
            types: vec!["response.output_audio.delta".into()],
            audio_key: "delta".into(),
            item_key: "item_id".into(),
        },
        up_prefix: r#"{"type":"input_audio_buffer.append","audio":""#.into(),
        up_suffix: r#""}"#.into(),
    };
    let format = EngineFormat {
        up_encoding: Encoding::Pcm16,
        up_rate: 24000,
        down_encoding: Encoding::Pcm16,
        down_rate: 24000,
        batch_ms: 20,
    };
    run(dialect, &frame, format, Codec::Pcma);
}
