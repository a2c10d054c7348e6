//! One reactor thread: an epoll loop, a wheel of eight phases, and its calls.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use trunkline_session::Nanos;

use crate::call::{Call, Context};
use crate::clock;
use crate::command::Command;
use crate::engine::Counters;
use crate::events::{EventKind, EventQueue};
use crate::poller::{Batch, Poller, Ready, Token, ready};

/// Phases of the wheel: calls send at eight different moments of 20 ms.
const PHASES: usize = 8;
const STEP: Nanos = Nanos(20_000_000 / PHASES as u64);
/// After a stall of more than this the lost time is given up instead of being sent in one burst.
const MAX_CATCH_UP: Nanos = Nanos::from_millis(100);
/// Longest wait without calls; a command ends it.
const IDLE: Nanos = Nanos::from_secs(10);
/// Commands between two looks at the wheel.
const COMMAND_BATCH: usize = 64;

pub(crate) struct Shard {
    context: Context,
    queue: Arc<EventQueue>,
    calls: Vec<Option<Box<Call>>>,
    free: Vec<u32>,
    by_id: HashMap<u64, u32>,
    /// Slots by phase.
    phases: [Vec<u32>; PHASES],
    /// Calls that were asked to close.
    closing: Vec<u32>,
    phase: usize,
    next: Nanos,
    /// Kept for its memory.
    commands: VecDeque<(u64, Command)>,
}

impl Shard {
    pub(crate) fn new(context: Context, queue: Arc<EventQueue>) -> Self {
        Self {
            context,
            queue,
            calls: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            phases: Default::default(),
            closing: Vec::new(),
            phase: 0,
            next: clock::now() + STEP,
            commands: VecDeque::new(),
        }
    }

    /// Runs until the command queue says stop; then drops every call.
    pub(crate) fn run(mut self) {
        let mut batch = Poller::batch();
        while self.step(&mut batch) {}
        let now = clock::now();
        for call in self.calls.iter_mut().flatten() {
            call.guarded(now, &mut self.context, |call, context| call.abandon(now, context));
        }
    }

    /// Waits for something to do and does it; `false` when the reactor is to stop.
    fn step(&mut self, batch: &mut Batch) -> bool {
        let idle = self.by_id.is_empty();
        let timeout = if idle { IDLE } else { self.next.since(clock::now()) };
        self.context.poller.wait(batch, timeout);
        let now = clock::now();
        if idle {
            self.next = now + STEP;
        }
        let mut running = true;
        for event in batch.drain(..) {
            running &= self.dispatch(now, ready(event));
        }
        self.turn();
        while !self.commands.is_empty() {
            for _ in 0..COMMAND_BATCH {
                let Some((id, command)) = self.commands.pop_front() else {
                    break;
                };
                self.command(id, command);
            }
            self.turn();
        }
        self.reap();
        self.queue.push_all(&mut self.context.events);
        self.follow_congestion();
        running
    }

    fn dispatch(&mut self, now: Nanos, ready: Ready) -> bool {
        match ready.token {
            Token::Wake => return self.context.commands.take(&mut self.commands),
            Token::Rtp(slot) => self.with(slot, now, |call, context| call.rtp_ready(now, false, context)),
            Token::Rtcp(slot) => self.with(slot, now, |call, context| call.rtp_ready(now, true, context)),
            Token::Engine(slot) => self.with(slot, now, |call, context| {
                call.engine_ready(now, (ready.readable, ready.writable), context);
            }),
        }
        true
    }

    fn with(&mut self, slot: u32, now: Nanos, work: impl FnOnce(&mut Call, &mut Context)) {
        if let Some(Some(call)) = self.calls.get_mut(slot as usize) {
            call.guarded(now, &mut self.context, work);
        }
    }

    /// Ticks the calls of every phase that is due.
    fn turn(&mut self) {
        let mut now = clock::now();
        if now.since(self.next) > MAX_CATCH_UP {
            let lost = now.since(self.next).0 / STEP.0;
            Counters::add(&self.context.counters.late_ticks, lost / PHASES as u64);
            self.next += Nanos(lost * STEP.0);
        }
        while self.next <= now {
            let lag = now.since(self.next);
            Counters::max(&self.context.counters.worst_lag, lag.0);
            self.next += STEP;
            self.phase = (self.phase + 1) % PHASES;
            for index in 0..self.phases[self.phase].len() {
                let slot = self.phases[self.phase][index];
                if let Some(Some(call)) = self.calls.get_mut(slot as usize) {
                    call.guarded(now, &mut self.context, |call, context| call.tick(now, context));
                }
            }
            now = clock::now();
        }
    }

    fn command(&mut self, id: u64, command: Command) {
        let now = clock::now();
        if let Command::Open { pair, shared, session } = command {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.calls.push(None);
                self.calls.len() as u32 - 1
            });
            match Call::new(now, (id, slot), pair, session, shared, &mut self.context) {
                Ok(call) => {
                    self.calls[slot as usize] = Some(Box::new(call));
                    self.by_id.insert(id, slot);
                    let phase = (0..PHASES).min_by_key(|&phase| self.phases[phase].len()).unwrap_or(0);
                    self.phases[phase].push(slot);
                }
                Err(error) => {
                    self.free.push(slot);
                    Counters::sub(&self.context.counters.calls, 1);
                    let detail = format!("cannot watch the RTP sockets: {error}");
                    self.push_unknown(id, now, EventKind::MediaFailed { detail, bug: false });
                }
            }
            return;
        }
        let Some(&slot) = self.by_id.get(&id) else {
            if matches!(command, Command::Close) {
                let kind = EventKind::MediaClosed { last_rtp_sent_at: Nanos::ZERO, stats: Box::default() };
                self.push_unknown(id, now, kind);
            }
            return;
        };
        if matches!(command, Command::Close) && !self.closing.contains(&slot) {
            self.closing.push(slot);
        }
        self.with(slot, now, |call, context| call.command(now, command, context));
    }

    fn push_unknown(&mut self, call: u64, at: Nanos, kind: EventKind) {
        self.context.events.push(crate::events::Event { call, at, kind });
    }

    /// Removes the calls whose closing is complete.
    fn reap(&mut self) {
        let mut index = 0;
        while index < self.closing.len() {
            let slot = self.closing[index];
            let now = clock::now();
            let over = match &mut self.calls[slot as usize] {
                Some(call) => {
                    let mut over = false;
                    call.guarded(now, &mut self.context, |call, context| over = call.is_over(now, context));
                    over
                }
                None => true,
            };
            if !over {
                index += 1;
                continue;
            }
            self.closing.swap_remove(index);
            if let Some(call) = self.calls[slot as usize].take() {
                self.by_id.remove(&call.id);
            }
            for phase in &mut self.phases {
                phase.retain(|&other| other != slot);
            }
            self.free.push(slot);
            Counters::sub(&self.context.counters.calls, 1);
        }
    }

    /// While Python is far behind, engines are not read: TCP makes them wait.
    fn follow_congestion(&mut self) {
        let congested = self.queue.is_congested();
        if congested == self.context.congested {
            return;
        }
        self.context.congested = congested;
        for call in self.calls.iter_mut().flatten() {
            call.set_reading(!congested, &mut self.context);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use trunkline_session::{Codec, Direction, Encoding, EngineFormat, Parameters, Session, SessionConfig};
    use trunkline_testalloc::allocations_in;
    use trunkline_wire::{Dialect, base64, handshake};

    use super::*;
    use crate::call::DATAGRAM;
    use crate::command::CommandQueue;
    use crate::engine::CallShared;
    use crate::ports::Ports;
    use crate::random::Random;
    use crate::recorder::{Recorder, RecorderCounters, WavFile};
    use crate::resolver::Resolver;
    use crate::socket::SocketSpec;

    /// The rest of the world: an engine that talks without end, and a caller. Both on a thread of their
    /// own, whose allocations do not count.
    #[expect(clippy::disallowed_methods, reason = "a peer in real time")]
    fn world(listener: &TcpListener, rtp: SocketAddr, caller: &UdpSocket, stop: &AtomicBool) {
        let (mut engine, _) = listener.accept().unwrap();
        accept(&mut engine);
        engine.set_nonblocking(true).unwrap();
        let frame = [&[0x82, 126, 2, 128][..], &[0x10; 640]].concat();
        let mut number = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let mut packet = [0x33; 172];
            packet[..2].copy_from_slice(&[0x80, 0]);
            packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&(number * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&[1; 4]);
            caller.send_to(&packet, rtp).unwrap();
            engine.write_all(&frame).unwrap();
            let _ = engine.read(&mut [0; 8192]);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn accept(engine: &mut TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            engine.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let mut nonce = Vec::new();
        base64::decode(key.as_bytes(), &mut nonce).unwrap();
        let accept = handshake::accept_of(nonce.try_into().unwrap());
        let head = format!(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        engine.write_all(head.as_bytes()).unwrap();
    }

    fn parameters(remote: SocketAddr) -> Parameters {
        Parameters {
            remote,
            remote_rtcp: remote,
            rtcp_mux: true,
            codec: Codec::Pcmu,
            payload_type: 0,
            clock_rate: 8000,
            ptime_ms: 20,
            dtmf_payload_type: None,
            direction: Direction::SendRecv,
        }
    }

    fn spec(address: SocketAddr) -> SocketSpec {
        SocketSpec {
            url: format!("ws://{address}/"),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            dialect: Dialect::Binary,
            format: EngineFormat {
                up_encoding: Encoding::Pcm16,
                up_rate: 16000,
                down_encoding: Encoding::Pcm16,
                down_rate: 16000,
                batch_ms: 20,
            },
            connect_timeout: Nanos::from_secs(5),
            max_message_bytes: 1 << 20,
            ca_file: None,
        }
    }

    /// A shard that the test steps by hand, with one call on it.
    struct Rig {
        shard: Shard,
        queue: Arc<EventQueue>,
        commands: Arc<CommandQueue>,
        stats: Arc<CallShared>,
        rtp: SocketAddr,
        caller: UdpSocket,
        listener: TcpListener,
        // Its threads end with it.
        _helpers: (Resolver, Recorder),
    }

    #[expect(clippy::disallowed_methods, reason = "this crate owns the sockets")]
    fn rig(port_low: u16) -> Rig {
        let ports = Arc::new(Ports::new([127, 0, 0, 1].into(), port_low, port_low + 9, Nanos::ZERO));
        let commands = Arc::new(CommandQueue::new().unwrap());
        let queue = Arc::new(EventQueue::new().unwrap());
        let poller = Poller::new().unwrap();
        poller.add(&*commands.wake().unwrap(), Token::Wake, true, false).unwrap();
        let resolver = Resolver::start().unwrap();
        let recorder = Recorder::start(Arc::new(RecorderCounters::default())).unwrap();
        let context = Context {
            poller,
            random: Random::new(),
            events: Vec::with_capacity(64),
            ports: Arc::clone(&ports),
            commands: Arc::clone(&commands),
            resolver: resolver.handle(),
            recorder: recorder.handle(),
            counters: Arc::default(),
            congested: false,
            datagram: Box::new([0; DATAGRAM]),
        };
        let pair = ports.take(clock::now()).unwrap().unwrap();
        let rtp = ([127, 0, 0, 1], pair.port).into();
        let caller = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config =
            SessionConfig { ssrc: 1, sequence: 1, timestamp: 1, seed: 1, rtp_silence: Nanos::from_secs(5) };
        let stats = Arc::new(CallShared::default());
        let session = Box::new(Session::new(clock::now(), config));
        commands.push(1, Command::Open { pair, shared: Arc::clone(&stats), session });
        commands.push(1, Command::Connect(parameters(caller.local_addr().unwrap())));
        commands.push(1, Command::OpenSocket(Box::new(spec(listener.local_addr().unwrap()))));
        let shard = Shard::new(context, Arc::clone(&queue));
        Rig { shard, queue, commands, stats, rtp, caller, listener, _helpers: (resolver, recorder) }
    }

    /// The proof of `trunkline-session` extended to sockets, recording and the loop itself.
    #[test]
    fn a_bridged_and_recorded_call_allocates_nothing() {
        let mut rig = rig(17_160);
        let path = std::env::temp_dir().join(format!("trunkline-allocations-{}.wav", std::process::id()));
        rig.commands.push(1, Command::Record(WavFile::create(&path).unwrap()));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| world(&rig.listener, rig.rtp, &rig.caller, &stop));
            let mut batch = Poller::batch();
            let mut until = |packets: u64| {
                while rig.stats.stats().rtp_sent < packets {
                    assert!(rig.shard.step(&mut batch));
                }
            };
            until(75);
            let ((), counted) = allocations_in(|| until(150));
            stop.store(true, Ordering::Relaxed);
            assert_eq!(counted, 0);
        });
        assert!(rig.stats.stats().rtp_received > 50);
        std::fs::remove_file(&path).unwrap();
    }

    /// Sends numbered texts as fast as they are taken.
    fn flood(listener: &TcpListener, stop: &AtomicBool) {
        let (mut engine, _) = listener.accept().unwrap();
        accept(&mut engine);
        engine.set_nonblocking(true).unwrap();
        let mut number = 0_u32;
        let mut waiting: Vec<u8> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if waiting.is_empty() {
                waiting.extend_from_slice(&[0x81, 8]);
                waiting.extend_from_slice(format!("{number:08}").as_bytes());
                number += 1;
            }
            match engine.write(&waiting) {
                Ok(count) => drop(waiting.drain(..count)),
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn while_python_sleeps_engines_wait_and_no_text_is_lost() {
        let mut rig = rig(17_180);
        let stop = AtomicBool::new(false);
        let mut texts = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| flood(&rig.listener, &stop));
            let mut batch = Poller::batch();
            for _ in 0..2 {
                while !rig.queue.is_congested() {
                    assert!(rig.shard.step(&mut batch));
                }
                // The call goes on, and the queue does not grow.
                let until = rig.stats.stats().rtp_sent + 20;
                let before = rig.queue.len();
                while rig.stats.stats().rtp_sent < until {
                    assert!(rig.shard.step(&mut batch));
                }
                assert!(rig.queue.len() <= before + 20, "{} events", rig.queue.len());
                let mut events = Vec::new();
                rig.queue.drain(usize::MAX, &mut events);
                texts.extend(events.into_iter().filter_map(|event| match event.kind {
                    EventKind::EngineText { text } => Some(text),
                    _ => None,
                }));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(texts.len() >= 2 * crate::events::MAX_CONTROL - 20);
        assert!(texts.iter().enumerate().all(|(index, text)| *text == format!("{index:08}")));
    }
}
