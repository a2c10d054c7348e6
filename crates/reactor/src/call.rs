//! One call on its reactor: the session, its sockets and what they do to each other.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use trunkline_session::{Nanos, Session, SessionEvent, Sink, StereoFrame};
use trunkline_wire::Closed;

use crate::command::{Command, CommandQueue};
use crate::engine::{CallShared, Counters};
use crate::events::{Event, EventKind};
use crate::poller::{Poller, Token};
use crate::ports::{Pair, Ports};
use crate::random::Random;
use crate::recorder::{RecorderHandle, Recording, WavFile};
use crate::resolver::{Lookup, ResolverHandle};
use crate::socket::{EngineSocket, SocketEvent, SocketSpec};

/// Longest wait for the engine's close frame when the whole call ends.
const LINGER: Nanos = Nanos::from_millis(100);
/// Larger than any datagram we use; a longer one is cut and then rejected as malformed or unusable.
pub(crate) const DATAGRAM: usize = 2048;

/// What every call of a reactor uses.
pub(crate) struct Context {
    pub(crate) poller: Poller,
    pub(crate) random: Random,
    pub(crate) events: Vec<Event>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) commands: Arc<CommandQueue>,
    pub(crate) resolver: ResolverHandle,
    pub(crate) recorder: RecorderHandle,
    pub(crate) counters: Arc<Counters>,
    /// Python is far behind: engines are not read.
    pub(crate) congested: bool,
    pub(crate) datagram: Box<[u8; DATAGRAM]>,
}

/// Where a call is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// A socket error or a panic ended the session; `close` is still to be answered.
    Failed,
    /// `close` was asked for: RTP is gone, the engine may say goodbye until then.
    Closing {
        until: Nanos,
    },
}

pub(crate) struct Call {
    pub(crate) id: u64,
    slot: u32,
    life: Life,
    session: Box<Session>,
    shared: Arc<CallShared>,
    io: Io,
}

/// The part of a call that a session's output goes to.
struct Io {
    udp: Option<Pair>,
    socket: Option<EngineSocket>,
    generation: u64,
    recording: Option<Recording>,
    seals: u32,
    engine_dropped_ms: u64,
    engine_bad_messages: u64,
    send_errors: u64,
    /// The engine's socket broke while audio was sent to it.
    broken: Option<Closed>,
}

impl Call {
    pub(crate) fn new(
        now: Nanos,
        (id, slot): (u64, u32),
        pair: Pair,
        session: Box<Session>,
        shared: Arc<CallShared>,
        context: &mut Context,
    ) -> io::Result<Self> {
        let watched = context
            .poller
            .add(&pair.rtp, Token::Rtp(slot), true, false)
            .and_then(|()| context.poller.add(&pair.rtcp, Token::Rtcp(slot), true, false));
        if let Err(error) = watched {
            let port = pair.port;
            drop(pair);
            context.ports.give_back(port, now);
            return Err(error);
        }
        let io = Io {
            udp: Some(pair),
            socket: None,
            generation: 0,
            recording: None,
            seals: 0,
            engine_dropped_ms: 0,
            engine_bad_messages: 0,
            send_errors: 0,
            broken: None,
        };
        Ok(Self { id, slot, life: Life::Running, session, shared, io })
    }

    /// Runs `work` for this call alone: a panic in it ends this call and no other.
    pub(crate) fn guarded(
        &mut self,
        now: Nanos,
        context: &mut Context,
        work: impl FnOnce(&mut Self, &mut Context),
    ) {
        let result = catch_unwind(AssertUnwindSafe(|| work(self, context)));
        if let Err(panic) = result {
            Counters::add(&context.counters.panics, 1);
            self.fail(
                now,
                format!("a bug in the media session: {}", panic_text(panic.as_ref())),
                true,
                context,
            );
        }
    }

    fn fail(&mut self, now: Nanos, detail: String, bug: bool, context: &mut Context) {
        if self.life != Life::Running {
            return;
        }
        self.life = Life::Failed;
        self.release_udp(now, context);
        self.drop_socket(context);
        self.seal(context);
        self.push(now, EventKind::MediaFailed { detail, bug }, context);
    }

    fn push(&self, at: Nanos, kind: EventKind, context: &mut Context) {
        context.events.push(Event { call: self.id, at, kind });
    }

    // --- commands ---------------------------------------------------------------------------------

    pub(crate) fn command(&mut self, now: Nanos, command: Command, context: &mut Context) {
        match command {
            Command::Close => return self.close(now, context),
            Command::Sealed => {
                self.io.seals -= 1;
                return;
            }
            _ => {}
        }
        if self.life != Life::Running {
            return;
        }
        match command {
            Command::Connect(parameters) => self.session.connect(now, parameters),
            Command::OpenSocket(spec) => self.open_socket(now, spec, context),
            Command::Resolved { generation, result } => self.resolved(now, generation, result, context),
            Command::CloseEngine => self.close_engine(now, context),
            Command::OpenTap { rate, batch_ms } => self.session.open_tap(rate, batch_ms),
            Command::SendText(text) => self.send_text(now, text, context),
            Command::Play { item, pcm, rate } => self.session.play(&item, &pcm, rate),
            Command::EndItem(item) => self.session.end_item(&item),
            Command::DropItem(item) => self.session.drop_item(&item),
            Command::Flush { fade_ms } => self.session.flush(fade_ms),
            Command::Mask { name, pcm, rate, mode, looped } => {
                self.session.mask(&name, &pcm, rate, mode, looped);
            }
            Command::Unmask { fade_ms } => self.session.unmask(fade_ms),
            Command::SendDtmf { digits, duration, gap } => {
                self.session.send_dtmf(&digits, duration, gap);
            }
            Command::Record(file) => self.record(file, context),
            #[cfg(test)]
            Command::Panic => panic!("asked for by a test"),
            Command::Open { .. } | Command::Close | Command::Sealed => {}
        }
    }

    fn record(&mut self, file: WavFile, context: &mut Context) {
        self.seal(context);
        self.io.recording = Some(context.recorder.recording(file));
        self.session.set_recording(true);
    }

    fn seal(&mut self, context: &mut Context) {
        if let Some(recording) = self.io.recording.take() {
            self.session.set_recording(false);
            self.io.seals += 1;
            let (commands, id) = (Arc::clone(&context.commands), self.id);
            recording.seal(Box::new(move || commands.push(id, Command::Sealed)));
        }
    }

    // --- the engine's socket ----------------------------------------------------------------------

    fn token(&self) -> Token {
        Token::Engine(self.slot)
    }

    fn open_socket(&mut self, now: Nanos, spec: Box<SocketSpec>, context: &mut Context) {
        self.drop_socket(context);
        self.io.generation += 1;
        let generation = self.io.generation;
        let ca_file = spec.ca_file.clone();
        match EngineSocket::new(spec, generation, now, &mut context.random) {
            Ok(socket) => {
                let url = socket.url();
                let (commands, id) = (Arc::clone(&context.commands), self.id);
                context.resolver.submit(Lookup {
                    host: url.host.clone(),
                    port: url.port,
                    secure: url.secure,
                    ca_file,
                    reply: Box::new(move |result| {
                        commands.push(id, Command::Resolved { generation, result });
                    }),
                });
                self.io.socket = Some(socket);
            }
            Err(reason) => {
                let kind = EventKind::EngineClosed { code: 1006, reason, status: 0, by_us: true };
                self.push(now, kind, context);
            }
        }
    }

    fn resolved(
        &mut self,
        now: Nanos,
        generation: u64,
        result: Result<crate::resolver::Resolved, String>,
        context: &mut Context,
    ) {
        let token = self.token();
        let Some(socket) = self.io.socket.as_mut().filter(|socket| socket.generation == generation) else {
            return;
        };
        let progress = match result {
            Ok(resolved) => socket.resolved(resolved, &context.poller, token),
            Err(reason) => Err(Closed { code: 1006, reason, by_us: false }),
        };
        if let Err(closed) = progress {
            self.socket_closed(now, closed, 0, context);
        }
    }

    fn close_engine(&mut self, now: Nanos, context: &mut Context) {
        self.session.close_tap();
        let token = self.token();
        self.session.engine_closed();
        if let Some(socket) = &mut self.io.socket
            && let Err(closed) = socket.close(now, &context.poller, token, &mut context.random)
        {
            self.socket_closed(now, closed, 0, context);
        }
    }

    fn send_text(&mut self, now: Nanos, text: String, context: &mut Context) {
        let token = self.token();
        if let Some(socket) = &mut self.io.socket
            && let Err(closed) = socket.send_text(text, &context.poller, token, &mut context.random)
        {
            self.socket_closed(now, closed, 0, context);
        }
    }

    pub(crate) fn engine_ready(&mut self, now: Nanos, ready: (bool, bool), context: &mut Context) {
        let token = self.token();
        let Some(mut socket) = self.io.socket.take() else {
            return;
        };
        let mut end = None;
        let running = self.life == Life::Running;
        let Context { poller, random, events, .. } = context;
        let mut push = |kind| events.push(Event { call: self.id, at: now, kind });
        let format = socket.spec.format;
        socket.ready(ready, poller, token, random, |event| match event {
            SocketEvent::Closed { closed, status } => end = Some((closed, status)),
            _ if !running => {}
            SocketEvent::Audio { item, bytes } => self.session.handle_engine_audio(item, bytes),
            SocketEvent::Text(text) => push(EventKind::EngineText { text: text.to_owned() }),
            SocketEvent::Bad => self.io.engine_bad_messages += 1,
            SocketEvent::Opened { subprotocol } => {
                self.session.engine_opened(format);
                push(EventKind::EngineOpened { subprotocol });
            }
        });
        if context.congested {
            socket.set_reading(false, &context.poller, token);
        }
        self.io.socket = Some(socket);
        if let Some((closed, status)) = end {
            self.socket_closed(now, closed, status, context);
        }
    }

    fn socket_closed(&mut self, now: Nanos, closed: Closed, status: u16, context: &mut Context) {
        self.drop_socket(context);
        let Closed { code, reason, by_us } = closed;
        self.push(now, EventKind::EngineClosed { code, reason, status, by_us }, context);
    }

    fn drop_socket(&mut self, context: &mut Context) {
        self.session.engine_closed();
        if let Some(mut socket) = self.io.socket.take() {
            socket.finish(&context.poller);
        }
    }

    /// Stops or resumes reading from the engine, for back-pressure from Python.
    pub(crate) fn set_reading(&mut self, reading: bool, context: &mut Context) {
        let token = self.token();
        if let Some(socket) = &mut self.io.socket {
            socket.set_reading(reading, &context.poller, token);
        }
    }

    // --- RTP --------------------------------------------------------------------------------------

    pub(crate) fn rtp_ready(&mut self, now: Nanos, rtcp: bool, context: &mut Context) {
        let Some(pair) = &self.io.udp else {
            return;
        };
        let socket = if rtcp { &pair.rtcp } else { &pair.rtp };
        // One datagram at a wake-up is the rule; if more wait, the descriptor is ready again at once, and
        // a flood at one port cannot starve the others.
        match socket.recv_from(&mut context.datagram[..]) {
            Ok((length, source)) if rtcp => {
                self.session.handle_rtcp(now, source, &context.datagram[..length]);
            }
            Ok((length, source)) => {
                let mut sink = EventSink { call: self.id, now, events: &mut context.events };
                self.session.handle_rtp(now, source, &context.datagram[..length], &mut sink);
            }
            // An ICMP answer to an earlier packet of ours says nothing about the socket.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => self.fail(now, format!("cannot receive RTP: {error}"), false, context),
        }
    }

    pub(crate) fn tick(&mut self, now: Nanos, context: &mut Context) {
        if self.life == Life::Running {
            let mut sink = CallSink {
                call: self.id,
                slot: self.slot,
                now,
                io: &mut self.io,
                events: &mut context.events,
                poller: &context.poller,
                random: &mut context.random,
            };
            self.session.tick(now, &mut sink);
            if let Some(closed) = self.io.broken.take() {
                self.socket_closed(now, closed, 0, context);
            }
            self.publish_stats();
        }
        if let Some(closed) = self.io.socket.as_ref().and_then(|socket| socket.overdue(now)) {
            self.socket_closed(now, closed, 0, context);
        }
    }

    fn publish_stats(&self) {
        let mut stats = self.session.stats();
        stats.engine_dropped_ms = self.io.engine_dropped_ms;
        stats.engine_bad_messages = self.io.engine_bad_messages;
        self.shared.publish(stats);
    }

    // --- the end ----------------------------------------------------------------------------------

    fn close(&mut self, now: Nanos, context: &mut Context) {
        if let Life::Closing { .. } = self.life {
            return;
        }
        if self.life == Life::Running {
            let mut sink = CallSink {
                call: self.id,
                slot: self.slot,
                now,
                io: &mut self.io,
                events: &mut context.events,
                poller: &context.poller,
                random: &mut context.random,
            };
            self.session.close(now, &mut sink);
            self.publish_stats();
            self.release_udp(now, context);
            self.seal(context);
        }
        self.life = Life::Closing { until: now + LINGER };
        self.close_engine(now, context);
    }

    /// After `close`: whether everything is gone, and `MediaClosed` was said.
    pub(crate) fn is_over(&mut self, now: Nanos, context: &mut Context) -> bool {
        let Life::Closing { until } = self.life else {
            return false;
        };
        if self.io.socket.is_some() && now >= until {
            let closed = Closed { code: 1000, reason: String::new(), by_us: true };
            self.socket_closed(now, closed, 0, context);
        }
        if self.io.socket.is_some() || self.io.seals > 0 {
            return false;
        }
        Counters::add(&context.counters.send_errors, self.io.send_errors);
        let kind = EventKind::MediaClosed {
            last_rtp_sent_at: self.session.last_rtp_sent(),
            stats: Box::new(self.shared.stats()),
        };
        self.push(now, kind, context);
        true
    }

    /// Drops everything at once, for the end of the reactor.
    pub(crate) fn abandon(&mut self, now: Nanos, context: &mut Context) {
        self.close(now, context);
        self.drop_socket(context);
    }

    fn release_udp(&mut self, now: Nanos, context: &mut Context) {
        if let Some(pair) = self.io.udp.take() {
            context.poller.remove(&pair.rtp);
            context.poller.remove(&pair.rtcp);
            let port = pair.port;
            drop(pair);
            context.ports.give_back(port, now);
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no description")
}

/// Takes the events of a session that is only listening.
struct EventSink<'a> {
    call: u64,
    now: Nanos,
    events: &'a mut Vec<Event>,
}

impl Sink for EventSink<'_> {
    fn send_rtp(&mut self, _: SocketAddr, _: &[u8]) {}
    fn send_rtcp(&mut self, _: SocketAddr, _: &[u8], _: bool) {}
    fn engine_audio(&mut self, _: &[u8], _: u32) {}
    fn tap(&mut self, _: &[i16], _: u32) {}
    fn record(&mut self, _: &StereoFrame) {}

    fn event(&mut self, event: SessionEvent<'_>) {
        self.events.push(Event { call: self.call, at: self.now, kind: owned(event) });
    }
}

/// Takes everything a session puts out.
struct CallSink<'a> {
    call: u64,
    slot: u32,
    now: Nanos,
    io: &'a mut Io,
    events: &'a mut Vec<Event>,
    poller: &'a Poller,
    random: &'a mut Random,
}

impl CallSink<'_> {
    fn send(&mut self, rtcp: bool, to: SocketAddr, packet: &[u8]) {
        let Some(pair) = &self.io.udp else {
            return;
        };
        let socket: &UdpSocket = if rtcp { &pair.rtcp } else { &pair.rtp };
        // A packet that the kernel does not take is lost, as on any network; the next one follows
        // in 20 ms. What stays is the count.
        if socket.send_to(packet, to).is_err() {
            self.io.send_errors += 1;
        }
    }
}

impl Sink for CallSink<'_> {
    fn send_rtp(&mut self, to: SocketAddr, packet: &[u8]) {
        self.send(false, to, packet);
    }

    fn send_rtcp(&mut self, to: SocketAddr, packet: &[u8], mux: bool) {
        self.send(!mux, to, packet);
    }

    fn engine_audio(&mut self, encoded: &[u8], ms: u32) {
        if let Some(socket) = &mut self.io.socket {
            match socket.send_audio(encoded, ms, self.poller, Token::Engine(self.slot), self.random) {
                Ok(dropped) => self.io.engine_dropped_ms += dropped,
                Err(closed) => self.io.broken = Some(closed),
            }
        }
    }

    fn tap(&mut self, pcm: &[i16], rate: u32) {
        let pcm = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.events.push(Event { call: self.call, at: self.now, kind: EventKind::Tap { pcm, rate } });
    }

    fn record(&mut self, frame: &StereoFrame) {
        if let Some(recording) = &mut self.io.recording {
            recording.push(frame);
        }
    }

    fn event(&mut self, event: SessionEvent<'_>) {
        self.events.push(Event { call: self.call, at: self.now, kind: owned(event) });
    }
}

fn owned(event: SessionEvent<'_>) -> EventKind {
    match event {
        SessionEvent::FirstPacket { source } => EventKind::FirstPacket { source: source.to_string() },
        SessionEvent::CallerSpeech { started, lag_ms } => EventKind::CallerSpeech { started, lag_ms },
        SessionEvent::Digit { digit, duration_ms } => EventKind::Digit { digit, duration_ms },
        SessionEvent::PlayStarted { item } => EventKind::PlayStarted { item: item.to_owned() },
        SessionEvent::PlayEnded { item, heard_ms, total_ms } => EventKind::PlayEnded {
            heard: trunkline_session::Heard { item: item.to_owned(), heard_ms, total_ms },
        },
        SessionEvent::Flushed { heard } => EventKind::Flushed { heard },
        SessionEvent::MaskStarted { name } => EventKind::MaskStarted { name: name.to_owned() },
        SessionEvent::MaskEnded { name, played_ms } => {
            EventKind::MaskEnded { name: name.to_owned(), played_ms }
        }
        SessionEvent::RtpSilence { quiet_ms } => EventKind::RtpSilence { quiet_ms },
    }
}
