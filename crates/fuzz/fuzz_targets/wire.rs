//! A server that sends anything, in pieces of any size: framing and profiles never panic, memory stays within
//! the bound, and nothing comes after the end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_wire::handshake::accept_of;
use trunkline_wire::{Client, Dialect, Incoming, JsonKeys, Profile, Request, Sorted, State};

const NONCE: [u8; 16] = [1; 16];
const BOUND: usize = 4096;

fn profile() -> Profile {
    Profile::new(Dialect::Json {
        down: JsonKeys {
            type_key: "t".into(),
            types: vec!["a".into()],
            audio_key: "d".into(),
            item_key: "i".into(),
        },
        up_prefix: String::new(),
        up_suffix: String::new(),
    })
}

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (honest, piece, bytes) = input;
    let request = Request { host: "engine".into(), ..Request::default() };
    let Ok((mut client, _)) = Client::new(&request, NONCE, BOUND) else { return };
    let head = format!(
        "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept_of(NONCE)
    );
    let stream = if honest { [head.as_bytes(), bytes].concat() } else { bytes.to_vec() };
    let (mut profile, mut out) = (profile(), Vec::new());
    for chunk in stream.chunks(usize::from(piece).max(1)) {
        let space = client.space();
        assert!(space.len() <= 64 * 1024);
        space[..chunk.len()].copy_from_slice(chunk);
        client.filled(chunk.len());
        while let Some(incoming) = client.poll(&mut out, &mut || [0; 4]) {
            let over = matches!(incoming, Incoming::Closed(_) | Incoming::Refused(_));
            if let Some(Sorted::Audio { bytes, .. }) = profile.sort(&incoming) {
                assert!(bytes.len() <= BOUND);
            }
            if over {
                assert_eq!(client.state(), State::Closed);
                assert!(client.poll(&mut out, &mut || [0; 4]).is_none());
                return;
            }
        }
    }
});
