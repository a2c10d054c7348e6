//! An engine's WebSocket: TCP, TLS, framing, and what to do when the engine does not keep up.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use trunkline_session::Nanos;
use trunkline_wire::{Client, Closed, Dialect, HandshakeError, Incoming, Profile, Request, Sorted, State};

use crate::backlog::{Backlog, Waiting};
use crate::poller::{Poller, Token};
use crate::random::Random;
use crate::resolver::Resolved;
use crate::url::WsUrl;

/// Encoded bytes that may wait for the kernel before messages queue in the backlog instead.
const MAX_ENCODED: usize = 64 * 1024;
/// How long the answer to our close frame is awaited.
const CLOSE_TIMEOUT: Nanos = Nanos::from_secs(1);
/// Unacknowledged data kills the connection after this long, so that a dead peer is noticed.
const USER_TIMEOUT_MS: u32 = 15_000;
/// Reads per wake-up, so that one busy engine cannot starve the other calls.
const MAX_READS: usize = 4;

/// What to connect to.
#[derive(Debug, Clone)]
pub struct SocketSpec {
    /// ws:// or wss://
    pub url: String,
    /// Header fields of the handshake.
    pub headers: Vec<(String, String)>,
    /// Subprotocols to offer.
    pub subprotocols: Vec<String>,
    /// Where the audio travels.
    pub dialect: Dialect,
    /// How it is encoded.
    pub format: trunkline_session::EngineFormat,
    /// From the request to connect until the handshake is done.
    pub connect_timeout: Nanos,
    /// Longest message accepted.
    pub max_message_bytes: usize,
    /// PEM file with additional trust anchors.
    pub ca_file: Option<std::path::PathBuf>,
}

/// What an engine's socket reports.
#[derive(Debug)]
pub(crate) enum SocketEvent<'a> {
    Opened { subprotocol: String },
    Audio { item: &'a str, bytes: &'a [u8] },
    Text(&'a str),
    Bad,
    Closed { closed: Closed, status: u16 },
}

/// How an attempt to make progress ended.
type Progress = Result<(), Closed>;

/// What epoll watches a socket for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interest {
    read: bool,
    write: bool,
}

const BOTH: Interest = Interest { read: true, write: true };

#[derive(Debug)]
pub(crate) struct EngineSocket {
    /// Tells answers of the resolver for an earlier socket of the same call from ours.
    pub(crate) generation: u64,
    pub(crate) spec: Box<SocketSpec>,
    url: WsUrl,
    addresses: std::vec::IntoIter<SocketAddr>,
    tls_config: Option<Arc<ClientConfig>>,
    stream: Option<TcpStream>,
    tls: Option<Box<ClientConnection>>,
    connected: bool,
    client: Client,
    profile: Profile,
    request: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
    backlog: Backlog,
    scratch: Vec<u8>,
    deadline: Nanos,
    interest: Interest,
    /// Reading stopped at its bound while decrypted data was left.
    more: bool,
}

impl EngineSocket {
    /// A socket that awaits its addresses.
    pub(crate) fn new(
        spec: Box<SocketSpec>,
        generation: u64,
        now: Nanos,
        random: &mut Random,
    ) -> Result<Self, String> {
        let url = WsUrl::parse(&spec.url)?;
        let request = Request {
            host: url.authority.clone(),
            target: url.target.clone(),
            headers: spec.headers.clone(),
            subprotocols: spec.subprotocols.clone(),
        };
        let (client, request) = Client::new(&request, random.bytes(), spec.max_message_bytes)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            generation,
            url,
            addresses: Vec::new().into_iter(),
            tls_config: None,
            stream: None,
            tls: None,
            connected: false,
            client,
            profile: Profile::new(spec.dialect.clone()),
            request,
            out: Vec::with_capacity(4096),
            sent: 0,
            backlog: Backlog::default(),
            scratch: Vec::new(),
            deadline: now + spec.connect_timeout,
            interest: BOTH,
            more: false,
            spec,
        })
    }

    pub(crate) fn url(&self) -> &WsUrl {
        &self.url
    }

    pub(crate) fn is_open(&self) -> bool {
        self.client.state() == State::Open
    }

    /// The addresses are known: connect to the first that answers.
    pub(crate) fn resolved(&mut self, resolved: Resolved, poller: &Poller, token: Token) -> Progress {
        self.addresses = resolved.addresses.into_iter();
        self.tls_config = resolved.tls;
        self.try_next(poller, token, None)
    }

    fn try_next(&mut self, poller: &Poller, token: Token, last: Option<io::Error>) -> Progress {
        let mut last = last;
        for address in self.addresses.by_ref() {
            match connect(address).and_then(|stream| poller.add(&stream, token, true, true).map(|()| stream))
            {
                Ok(stream) => {
                    self.stream = Some(stream);
                    self.interest = BOTH;
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or_else(|| "no address".to_owned(), |error| error.to_string());
        Err(lost(format!("cannot connect to {}:{}: {why}", self.url.host, self.url.port)))
    }

    /// The descriptor is ready. Everything that came is handed to `event`.
    pub(crate) fn ready(
        &mut self,
        (readable, writable): (bool, bool),
        poller: &Poller,
        token: Token,
        random: &mut Random,
        mut event: impl FnMut(SocketEvent<'_>),
    ) {
        if let Err(closed) = self.progress((readable, writable), poller, token, random, &mut event) {
            event(SocketEvent::Closed { closed: self.our_closing(closed), status: 0 });
        }
    }

    fn progress(
        &mut self,
        (readable, writable): (bool, bool),
        poller: &Poller,
        token: Token,
        random: &mut Random,
        event: &mut impl FnMut(SocketEvent<'_>),
    ) -> Progress {
        if !self.connected && (readable || writable) {
            self.finish_connect(poller, token)?;
            if !self.connected {
                return Ok(());
            }
        }
        if readable || self.more {
            self.read(random, event)?;
        }
        if self.client.state() == State::Closed {
            return Ok(());
        }
        self.write(random, poller, token)
    }

    fn finish_connect(&mut self, poller: &Poller, token: Token) -> Progress {
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        let error = match stream.take_error() {
            Ok(None) => match stream.peer_addr() {
                Ok(_) => None,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => Some(error),
            },
            Ok(Some(error)) | Err(error) => Some(error),
        };
        if let Some(error) = error {
            poller.remove(stream);
            self.stream = None;
            return self.try_next(poller, token, Some(error));
        }
        self.connected = true;
        // Both options only improve timing; a system that refuses them still works.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MS);
        if let Some(config) = self.tls_config.take() {
            let name = ServerName::try_from(self.url.host.clone())
                .map_err(|_| lost(format!("{} cannot be the name in a certificate", self.url.host)))?;
            let tls = ClientConnection::new(config, name).map_err(|error| lost(format!("TLS: {error}")))?;
            self.tls = Some(Box::new(tls));
        }
        self.out.append(&mut self.request);
        Ok(())
    }

    fn read(&mut self, random: &mut Random, event: &mut impl FnMut(SocketEvent<'_>)) -> Progress {
        self.more = false;
        for _ in 0..MAX_READS {
            let space = self.client.space();
            let wanted = space.len();
            let count = match (&mut self.stream, &mut self.tls) {
                (Some(stream), None) => receive(stream.read(space))?,
                (Some(stream), Some(tls)) => read_tls(stream, tls, space)?,
                (None, _) => None,
            };
            let Some(count) = count else {
                return Ok(());
            };
            self.client.filled(count);
            self.dispatch(random, event);
            if self.client.state() == State::Closed || (self.tls.is_none() && count < wanted) {
                return Ok(());
            }
        }
        // What TLS has decrypted already makes no descriptor readable.
        self.more = self.tls.is_some();
        Ok(())
    }

    fn dispatch(&mut self, random: &mut Random, event: &mut impl FnMut(SocketEvent<'_>)) {
        while let Some(incoming) = self.client.poll(&mut self.out, &mut || random.mask()) {
            if let Some(sorted) = self.profile.sort(&incoming) {
                event(match sorted {
                    Sorted::Audio { item, bytes } => SocketEvent::Audio { item, bytes },
                    Sorted::Text(text) => SocketEvent::Text(text),
                    Sorted::Bad(_) => SocketEvent::Bad,
                });
                continue;
            }
            match incoming {
                Incoming::Opened { subprotocol } => {
                    self.deadline = Nanos::MAX;
                    event(SocketEvent::Opened { subprotocol });
                }
                Incoming::Refused(error) => event(refused(&error)),
                Incoming::Closed(closed) => event(SocketEvent::Closed { closed, status: 0 }),
                Incoming::Text(_) | Incoming::Binary(_) => {}
            }
        }
    }

    /// Sends what is encoded, then encodes what waits, until the kernel takes no more.
    fn write(&mut self, random: &mut Random, poller: &Poller, token: Token) -> Progress {
        loop {
            let drained = self.write_encoded()?;
            if !drained || self.backlog.is_empty() {
                return self.want(Interest { write: !drained || self.more, ..self.interest }, poller, token);
            }
            while self.out.len() < MAX_ENCODED
                && let Some(message) = self.backlog.pop(&mut self.scratch)
            {
                match message {
                    Waiting::Audio { .. } => {
                        self.profile.write_audio(&self.scratch, &mut self.out, random.mask());
                    }
                    Waiting::Text(text) => self.client.send_text(&text, &mut self.out, random.mask()),
                }
            }
        }
    }

    /// Whether everything encoded is with the kernel.
    fn write_encoded(&mut self) -> Result<bool, Closed> {
        let Some(stream) = &mut self.stream else {
            return Ok(true);
        };
        if let Some(tls) = &mut self.tls {
            if !tls.wants_write() && self.sent < self.out.len() {
                self.sent += tls.writer().write(&self.out[self.sent..]).map_err(|error| broken(&error))?;
            }
            while tls.wants_write() {
                if receive(tls.write_tls(stream))?.is_none() {
                    return Ok(false);
                }
                if !tls.wants_write() && self.sent < self.out.len() {
                    self.sent +=
                        tls.writer().write(&self.out[self.sent..]).map_err(|error| broken(&error))?;
                }
            }
        } else {
            while self.sent < self.out.len() {
                match receive(stream.write(&self.out[self.sent..]))? {
                    Some(count) => self.sent += count,
                    None => return Ok(false),
                }
            }
        }
        if self.sent < self.out.len() {
            return Ok(false);
        }
        self.out.clear();
        self.sent = 0;
        Ok(true)
    }

    fn want(&mut self, interest: Interest, poller: &Poller, token: Token) -> Progress {
        if interest == self.interest {
            return Ok(());
        }
        self.interest = interest;
        let Some(stream) = &self.stream else {
            return Ok(());
        };
        poller.change(stream, token, interest.read, interest.write).map_err(|error| broken(&error))
    }

    /// Stops or resumes reading, for back-pressure from Python.
    pub(crate) fn set_reading(&mut self, reading: bool, poller: &Poller, token: Token) {
        if self.connected {
            // A failure shows at the next write; there is nothing to report twice.
            let _ = self.want(Interest { read: reading, ..self.interest }, poller, token);
        }
    }

    /// Sends caller audio in the socket's encoding; returns milliseconds of audio dropped.
    pub(crate) fn send_audio(
        &mut self,
        bytes: &[u8],
        ms: u32,
        poller: &Poller,
        token: Token,
        random: &mut Random,
    ) -> Result<u64, Closed> {
        if !self.is_open() {
            return Ok(0);
        }
        if !self.backlog.is_empty() || self.out.len() >= MAX_ENCODED {
            return Ok(self.backlog.push_audio(bytes, ms));
        }
        self.profile.write_audio(bytes, &mut self.out, random.mask());
        if self.interest.write {
            return Ok(0);
        }
        self.write(random, poller, token).map(|()| 0).map_err(|closed| self.our_closing(closed))
    }

    /// Sends text; ignored unless open.
    pub(crate) fn send_text(
        &mut self,
        text: String,
        poller: &Poller,
        token: Token,
        random: &mut Random,
    ) -> Progress {
        if !self.is_open() {
            return Ok(());
        }
        if !self.backlog.is_empty() || self.out.len() >= MAX_ENCODED {
            return if self.backlog.push_text(text) {
                Ok(())
            } else {
                Err(Closed { by_us: true, ..lost("the engine stopped reading".into()) })
            };
        }
        self.client.send_text(&text, &mut self.out, random.mask());
        self.write(random, poller, token).map_err(|closed| self.our_closing(closed))
    }

    /// Begins the closing handshake. `Err` when there is nothing to wait for.
    pub(crate) fn close(
        &mut self,
        now: Nanos,
        poller: &Poller,
        token: Token,
        random: &mut Random,
    ) -> Progress {
        let done = Closed { code: 1000, reason: String::new(), by_us: true };
        if self.client.state() == State::Closing {
            return Ok(());
        }
        if !self.is_open() {
            return Err(done);
        }
        self.client.close(1000, "", &mut self.out, random.mask());
        self.deadline = now + CLOSE_TIMEOUT;
        self.write(random, poller, token).map_err(|_| done)
    }

    /// What the close frame says still leaves, if the kernel takes it; then the connection is gone.
    pub(crate) fn finish(&mut self, poller: &Poller) {
        let _ = self.write_encoded();
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let _ = self.write_encoded();
        if let Some(stream) = self.stream.take() {
            poller.remove(&stream);
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    }

    /// The connection's end when it took too long, else `None`.
    pub(crate) fn overdue(&self, now: Nanos) -> Option<Closed> {
        if now < self.deadline {
            return None;
        }
        Some(match self.client.state() {
            State::Closing => Closed { code: 1000, reason: String::new(), by_us: true },
            _ => lost(format!("no WebSocket handshake within {} ms", self.spec.connect_timeout.as_millis())),
        })
    }

    /// While we close, a lost connection is what we asked for.
    fn our_closing(&self, closed: Closed) -> Closed {
        if self.client.state() == State::Closing {
            Closed { code: 1000, reason: String::new(), by_us: true }
        } else {
            closed
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// `None`: try again later. An end of the stream without a close frame is a loss.
fn receive(result: io::Result<usize>) -> Result<Option<usize>, Closed> {
    match result {
        Ok(0) => Err(lost("the connection was closed without a close frame".into())),
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(broken(&error)),
    }
}

fn read_tls(
    stream: &mut TcpStream,
    tls: &mut ClientConnection,
    space: &mut [u8],
) -> Result<Option<usize>, Closed> {
    loop {
        match tls.reader().read(space) {
            Ok(0) => return Err(lost("the connection was closed without a close frame".into())),
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(broken(&error)),
        }
        if receive(tls.read_tls(stream))?.is_none() {
            return Ok(None);
        }
        if let Err(error) = tls.process_new_packets() {
            // The alert that says why is worth a try; the connection is over anyway.
            let _ = tls.write_tls(stream);
            return Err(lost(format!("TLS: {error}")));
        }
    }
}

fn refused(error: &HandshakeError) -> SocketEvent<'static> {
    let (status, reason) = match error {
        HandshakeError::Refused { status, retry_after: Some(after), .. } => {
            (*status, format!("{error} (Retry-After: {after})"))
        }
        HandshakeError::Refused { status, .. } => (*status, error.to_string()),
        _ => (0, error.to_string()),
    };
    SocketEvent::Closed { closed: lost(reason), status }
}

fn broken(error: &io::Error) -> Closed {
    lost(format!("connection lost: {error}"))
}

fn lost(reason: String) -> Closed {
    Closed { code: 1006, reason, by_us: false }
}
