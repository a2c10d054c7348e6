//! The client against a reference server side written here, and against hostile bytes.

#![expect(clippy::unwrap_used, reason = "a failing step of a test should say so at once")]

use proptest::prelude::*;
use trunkline_wire::handshake::accept_of;
use trunkline_wire::{Client, Closed, Dialect, Incoming, JsonKeys, Profile, Request, Sorted, State};

const NONCE: [u8; 16] = [7; 16];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Opened(String),
    Text(String),
    Binary(Vec<u8>),
    Closed(u16, bool),
    Refused,
}

fn feed(client: &mut Client, mut bytes: &[u8], piece: usize, out: &mut Vec<u8>) -> Vec<Got> {
    let mut got = Vec::new();
    while !bytes.is_empty() {
        let space = client.space();
        let count = piece.min(space.len()).min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        client.filled(count);
        bytes = &bytes[count..];
        while let Some(incoming) = client.poll(out, &mut || [1, 2, 3, 4]) {
            got.push(match incoming {
                Incoming::Opened { subprotocol } => Got::Opened(subprotocol),
                Incoming::Text(text) => Got::Text(text.to_owned()),
                Incoming::Binary(bytes) => Got::Binary(bytes.to_vec()),
                Incoming::Refused(_) => Got::Refused,
                Incoming::Closed(Closed { code, by_us, .. }) => Got::Closed(code, by_us),
            });
        }
    }
    got
}

fn server_head() -> Vec<u8> {
    format!(
        "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept_of(NONCE)
    )
    .into_bytes()
}

fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn open(max: usize) -> Client {
    let request = Request { host: "engine".into(), ..Request::default() };
    let (mut client, _) = Client::new(&request, NONCE, max).unwrap();
    let got = feed(&mut client, &server_head(), usize::MAX, &mut Vec::new());
    assert_eq!(got, [Got::Opened(String::new())]);
    client
}

/// Undoes the masking of one client frame; returns first byte, payload and what follows.
fn client_frame(bytes: &[u8]) -> (u8, Vec<u8>, &[u8]) {
    assert_eq!(bytes[1] & 0x80, 0x80, "client frames are masked");
    let (len, head) = match bytes[1] & 0x7F {
        126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
        short => (usize::from(short), 2),
    };
    let mask = &bytes[head..head + 4];
    let body = &bytes[head + 4..head + 4 + len];
    let payload = body.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
    (bytes[0], payload, &bytes[head + 4 + len..])
}

#[test]
fn pings_inside_a_fragmented_message_are_answered_in_between() {
    let mut client = open(1000);
    let mut out = Vec::new();
    let bytes = [
        server_frame(0x01, "gr\u{fc}".as_bytes()),
        server_frame(0x89, b"are you there"),
        server_frame(0x00, b""),
        server_frame(0x80, b"n"),
    ]
    .concat();
    assert_eq!(feed(&mut client, &bytes, 3, &mut out), [Got::Text("gr\u{fc}n".into())]);
    let (first, payload, rest) = client_frame(&out);
    assert_eq!((first, payload.as_slice(), rest), (0x8A, b"are you there".as_slice(), b"".as_slice()));
}

#[test]
fn the_server_closes() {
    let mut client = open(1000);
    let mut out = Vec::new();
    let close = server_frame(0x88, &[0x0F, 0xA1, b'b', b'y', b'e']);
    assert_eq!(feed(&mut client, &close, 1, &mut out), [Got::Closed(4001, false)]);
    assert_eq!(client_frame(&out).1, [0x0F, 0xA1]);
    assert_eq!(client.state(), State::Closed);
}

#[test]
fn we_close_and_late_audio_is_ignored() {
    let mut client = open(1000);
    let mut out = Vec::new();
    client.close(1000, "done", &mut out, [0; 4]);
    assert_eq!(client_frame(&out).1, [&1000_u16.to_be_bytes(), b"done".as_slice()].concat());
    let bytes = [server_frame(0x82, b"late"), server_frame(0x88, &[3, 232])].concat();
    assert_eq!(feed(&mut client, &bytes, 2, &mut out), [Got::Closed(1000, true)]);
}

#[test]
fn breaches_close_with_the_right_code() {
    let cases: [(&str, Vec<u8>, u16); 12] = [
        ("reserved bit", server_frame(0xC1, b"x"), 1002),
        ("opcode", server_frame(0x83, b"x"), 1002),
        ("masked", vec![0x81, 0x81, 0, 0, 0, 0, b'x'], 1002),
        ("fragmented ping", server_frame(0x09, b"x"), 1002),
        ("long ping", server_frame(0x89, &[0; 126]), 1002),
        ("continuation of nothing", server_frame(0x80, b"x"), 1002),
        ("message in message", [server_frame(0x01, b"x"), server_frame(0x81, b"y")].concat(), 1002),
        ("long length form", vec![0x82, 126, 0, 5], 1002),
        ("close with one byte", server_frame(0x88, b"x"), 1002),
        ("close with 1006", server_frame(0x88, &1006_u16.to_be_bytes()), 1002),
        ("not UTF-8", server_frame(0x81, b"\xFF"), 1007),
        (
            "too big in fragments",
            [server_frame(0x02, &[0; 900]), server_frame(0x80, &[0; 200])].concat(),
            1009,
        ),
    ];
    for (name, bytes, code) in cases {
        let mut client = open(1000);
        let mut out = Vec::new();
        assert_eq!(feed(&mut client, &bytes, 5, &mut out), [Got::Closed(code, true)], "{name}");
        let (first, payload, _) = client_frame(&out);
        assert_eq!((first, payload.as_slice()), (0x88, code.to_be_bytes().as_slice()), "{name}");
    }
}

#[test]
fn an_oversized_frame_is_refused_by_its_header_alone() {
    let mut client = open(1 << 20);
    let header = [&[0x82, 127], (1_u64 << 40).to_be_bytes().as_slice()].concat();
    assert_eq!(feed(&mut client, &header, 99, &mut Vec::new()), [Got::Closed(1009, true)]);
}

#[test]
fn a_message_of_exactly_the_bound_passes() {
    let mut client = open(70_000);
    let payload = vec![b'a'; 70_000];
    let got = feed(&mut client, &server_frame(0x82, &payload), 1000, &mut Vec::new());
    assert_eq!(got, [Got::Binary(payload)]);
}

fn json_profile() -> Profile {
    Profile::new(Dialect::Json {
        down: JsonKeys {
            type_key: "type".into(),
            types: vec!["response.output_audio.delta".into()],
            audio_key: "delta".into(),
            item_key: "item_id".into(),
        },
        up_prefix: r#"{"type":"input_audio_buffer.append","audio":""#.into(),
        up_suffix: r#""}"#.into(),
    })
}

#[test]
fn caller_audio_in_both_profiles() {
    let audio: Vec<u8> = (0..640_u32).map(|index| index as u8).collect();
    let mut out = Vec::new();
    json_profile().write_audio(&audio, &mut out, [9, 8, 7, 6]);
    let (first, payload, _) = client_frame(&out);
    let tree: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(first, 0x81);
    assert_eq!(tree["type"], "input_audio_buffer.append");
    let mut decoded = Vec::new();
    trunkline_wire::base64::decode(tree["audio"].as_str().unwrap().as_bytes(), &mut decoded).unwrap();
    assert_eq!(decoded, audio);

    out.clear();
    Profile::new(Dialect::Binary).write_audio(&audio, &mut out, [9, 8, 7, 6]);
    let (first, payload, rest) = client_frame(&out);
    assert_eq!((first, payload, rest.len()), (0x82, audio, 0));
}

#[test]
fn profiles_sort_messages() {
    let mut json = json_profile();
    let audio = r#"{"type":"response.output_audio.delta","item_id":"i","delta":"AAE="}"#;
    let sorted = Some(Sorted::Audio { item: "i", bytes: &[0, 1] });
    assert_eq!(json.sort(&Incoming::Text(audio)), sorted);
    assert_eq!(json.sort(&Incoming::Binary(audio.as_bytes())), sorted);
    assert_eq!(json.sort(&Incoming::Text("{}")), Some(Sorted::Text("{}")));
    assert!(matches!(json.sort(&Incoming::Binary(b"\xFF")), Some(Sorted::Bad(_))));
    let mut binary = Profile::new(Dialect::Binary);
    assert_eq!(binary.sort(&Incoming::Text(audio)), Some(Sorted::Text(audio)));
    assert_eq!(binary.sort(&Incoming::Binary(b"ab")), Some(Sorted::Audio { item: "", bytes: b"ab" }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_survive_any_fragmentation_and_any_read_sizes(
        messages in proptest::collection::vec((any::<bool>(), "[a-z\u{e9}\u{1F600}]{0,300}", 1_usize..200), 0..6),
        piece in 1_usize..700,
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (text, body, part) in &messages {
            let parts: Vec<&[u8]> = if body.is_empty() { vec![&[]] } else { body.as_bytes().chunks(*part).collect() };
            for (index, chunk) in parts.iter().enumerate() {
                let opcode = if index > 0 { 0 } else if *text { 1 } else { 2 };
                let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
                bytes.extend(server_frame(fin | opcode, chunk));
            }
            expected.push(if *text { Got::Text(body.clone()) } else { Got::Binary(body.clone().into_bytes()) });
        }
        prop_assert_eq!(feed(&mut open(1 << 20), &bytes, piece, &mut Vec::new()), expected);
    }

    #[test]
    fn hostile_frames_never_panic_nor_outgrow_the_bound(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        piece in 1_usize..50,
    ) {
        let mut client = open(300);
        feed(&mut client, &bytes, piece, &mut Vec::new());
        prop_assert!(client.space().len() <= 16 * 1024);
    }

    #[test]
    fn hostile_heads_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let request = Request { host: "engine".into(), ..Request::default() };
        let (mut client, _) = Client::new(&request, NONCE, 100).unwrap();
        let head = [b"HTTP/1.1 101 OK\r\n".as_slice(), &bytes, b"\r\n\r\n"].concat();
        let got = feed(&mut client, &head, 17, &mut Vec::new());
        prop_assert_eq!(got.first(), Some(&Got::Refused));
    }
}
