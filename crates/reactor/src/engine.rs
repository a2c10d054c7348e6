//! The media engine as Python sees it: opens calls, passes commands, hands out events.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use trunkline_session::{MaskMode, Nanos, Parameters, Session, SessionConfig, Stats};

use crate::call::{Context, DATAGRAM};
use crate::clock;
use crate::command::{Command, CommandQueue};
use crate::events::{Event, EventQueue};
use crate::poller::{Poller, Token};
use crate::ports::Ports;
use crate::priority;
use crate::random::Random;
use crate::recorder::{Recorder, RecorderCounters, WavFile};
use crate::resolver::Resolver;
use crate::shard::Shard;
use crate::socket::SocketSpec;

/// How the engine runs.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Address that RTP sockets are bound to.
    pub host: IpAddr,
    /// First port of the range.
    pub port_low: u16,
    /// Last port of the range.
    pub port_high: u16,
    /// Reactor threads, 1 to 64.
    pub threads: usize,
    /// How long a freed port pair rests.
    pub quarantine: Nanos,
    /// RTP silence is reported after this long.
    pub rtp_silence: Nanos,
}

/// Why the engine or a call could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(&'static str),
    /// Every port pair is in use, resting or taken.
    #[error("no free RTP port pair in {low}-{high}")]
    NoPort {
        /// First port of the range.
        low: u16,
        /// Last port of the range.
        high: u16,
    },
    /// The engine was shut down.
    #[error("the media engine is closed")]
    Closed,
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Counters of the whole engine.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) send_errors: AtomicU64,
    pub(crate) late_ticks: AtomicU64,
    pub(crate) worst_lag: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn sub(counter: &AtomicU64, count: u64) {
        counter.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn max(counter: &AtomicU64, value: u64) {
        counter.fetch_max(value, Ordering::Relaxed);
    }
}

/// What a call shares with whoever asks for its counters.
#[derive(Debug, Default)]
pub(crate) struct CallShared(Mutex<Stats>);

impl CallShared {
    pub(crate) fn publish(&self, stats: Stats) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }

    pub(crate) fn stats(&self) -> Stats {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Totals for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls open now.
    pub calls: u64,
    /// Calls opened since the start.
    pub opened: u64,
    /// Port pairs that could be had now.
    pub free_ports: u64,
    /// Sessions ended by a caught panic.
    pub panics: u64,
    /// RTP and RTCP packets that the kernel did not take (of calls that have ended).
    pub send_errors: u64,
    /// Ticks given up after a stall of the whole reactor.
    pub late_ticks: u64,
    /// Longest lag of a tick behind its moment since the last call of `totals`.
    pub worst_lag: Nanos,
    /// Taps dropped because Python did not fetch them.
    pub dropped_taps: u64,
    /// Pieces of `play` audio refused because a reactor had too many waiting.
    pub dropped_plays: u64,
    /// Recording audio dropped because the writer was behind or the disk failed.
    pub recording_dropped_ms: u64,
    /// Recordings that could not be written to their end.
    pub recording_failures: u64,
}

/// A call's media session.
#[derive(Clone)]
pub struct CallHandle {
    id: u64,
    port: u16,
    commands: Arc<CommandQueue>,
    shared: Arc<CallShared>,
}

/// The running engine. Dropping it closes every call.
pub struct Engine {
    config: EngineConfig,
    ports: Arc<Ports>,
    events: Arc<EventQueue>,
    counters: Arc<Counters>,
    recorder_counters: Arc<RecorderCounters>,
    next: AtomicU64,
    shards: Vec<Arc<CommandQueue>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    threads: Vec<JoinHandle<()>>,
    resolver: Resolver,
    recorder: Recorder,
    random: Random,
}

impl Engine {
    /// Starts the threads.
    ///
    /// # Errors
    /// A configuration that makes no sense, or what the system refuses.
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        if !(1..=64).contains(&config.threads) {
            return Err(EngineError::Config("media threads must be 1 to 64"));
        }
        if config.port_low < 1024 || config.port_high <= config.port_low {
            return Err(EngineError::Config(
                "the RTP port range must begin at 1024 or above and hold a pair",
            ));
        }
        let ports = Arc::new(Ports::new(config.host, config.port_low, config.port_high, config.quarantine));
        let events = Arc::new(EventQueue::new()?);
        let counters = Arc::new(Counters::default());
        let recorder_counters = Arc::new(RecorderCounters::default());
        let resolver = Resolver::start()?;
        let recorder = Recorder::start(Arc::clone(&recorder_counters))?;
        let mut shards = Vec::with_capacity(config.threads);
        let mut threads = Vec::with_capacity(config.threads);
        for index in 0..config.threads {
            let commands = Arc::new(CommandQueue::new()?);
            let poller = Poller::new()?;
            if let Some(wake) = commands.wake() {
                poller.add(&*wake, Token::Wake, true, false)?;
            }
            let context = Context {
                poller,
                random: Random::new(),
                events: Vec::with_capacity(1024),
                ports: Arc::clone(&ports),
                commands: Arc::clone(&commands),
                resolver: resolver.handle(),
                recorder: recorder.handle(),
                counters: Arc::clone(&counters),
                congested: false,
                datagram: Box::new([0; DATAGRAM]),
            };
            let shard = Shard::new(context, Arc::clone(&events));
            let name = format!("trunkline-rtp-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || {
                priority::raise();
                shard.run();
            })?);
            shards.push(commands);
        }
        let running = Running { threads, resolver, recorder, random: Random::new() };
        Ok(Self {
            config,
            ports,
            events,
            counters,
            recorder_counters,
            next: AtomicU64::new(1),
            shards,
            running: Mutex::new(Some(running)),
        })
    }

    /// Descriptor that is readable while events wait.
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.events.fd()
    }

    /// Moves up to `max` events to `out`.
    pub fn drain(&self, max: usize, out: &mut Vec<Event>) {
        self.events.drain(max, out);
    }

    /// Opens a media session on a free port pair.
    ///
    /// # Errors
    /// [`EngineError::NoPort`], [`EngineError::Closed`], or what the system refuses.
    pub fn open(&self) -> Result<CallHandle, EngineError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Running { random, .. }) = running.as_mut() else {
            return Err(EngineError::Closed);
        };
        let now = clock::now();
        let (low, high) = (self.config.port_low, self.config.port_high);
        let pair = self.ports.take(now)?.ok_or(EngineError::NoPort { low, high })?;
        let config = SessionConfig {
            ssrc: u32::from_ne_bytes(random.bytes()),
            sequence: u16::from_ne_bytes(random.bytes()),
            timestamp: u32::from_ne_bytes(random.bytes()),
            seed: u64::from_ne_bytes(random.bytes()),
            rtp_silence: self.config.rtp_silence,
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let commands = Arc::clone(&self.shards[id as usize % self.shards.len()]);
        let shared = Arc::new(CallShared::default());
        let handle = CallHandle { id, port: pair.port, commands, shared: Arc::clone(&shared) };
        Counters::add(&self.counters.calls, 1);
        Counters::add(&self.counters.opened, 1);
        let session = Box::new(Session::new(now, config));
        handle.send(Command::Open { pair, shared, session });
        Ok(handle)
    }

    /// Totals now; asking begins a new interval of `worst_lag`.
    pub fn totals(&self) -> Totals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            calls: load(&self.counters.calls),
            opened: load(&self.counters.opened),
            free_ports: self.ports.available(clock::now()) as u64,
            panics: load(&self.counters.panics),
            send_errors: load(&self.counters.send_errors),
            late_ticks: load(&self.counters.late_ticks),
            worst_lag: Nanos(self.counters.worst_lag.swap(0, Ordering::Relaxed)),
            dropped_taps: self.events.dropped_taps(),
            dropped_plays: self.shards.iter().map(|shard| shard.dropped_play()).sum(),
            recording_dropped_ms: load(&self.recorder_counters.dropped_ms),
            recording_failures: load(&self.recorder_counters.failures),
        }
    }

    /// Closes every call without ceremony and ends the threads. Recordings are sealed.
    pub fn shut_down(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut running) = running else {
            return;
        };
        for shard in &self.shards {
            shard.stop();
        }
        for thread in running.threads {
            let _ = thread.join();
        }
        for shard in &self.shards {
            shard.dispose();
        }
        running.recorder.stop();
        running.resolver.stop();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl CallHandle {
    /// The call's number in events.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The RTP port; RTCP is the next one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Counters as of the last tick.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn send(&self, command: Command) {
        self.commands.push(self.id, command);
    }

    /// Begins or changes RTP.
    pub fn connect(&self, parameters: Parameters) {
        self.send(Command::Connect(parameters));
    }

    /// Connects the engine's WebSocket, in place of an earlier one.
    pub fn open_socket(&self, spec: SocketSpec) {
        self.send(Command::OpenSocket(Box::new(spec)));
    }

    /// Closes the engine's socket and taps.
    pub fn close_engine(&self) {
        self.send(Command::CloseEngine);
    }

    /// Delivers the caller's audio as taps.
    pub fn open_tap(&self, rate: u32, batch_ms: u32) {
        self.send(Command::OpenTap { rate, batch_ms });
    }

    /// Sends text to the engine.
    pub fn send_text(&self, text: String) {
        self.send(Command::SendText(text));
    }

    /// Queues audio, signed 16-bit little-endian.
    pub fn play(&self, item: String, pcm: Vec<u8>, rate: u32) {
        self.send(Command::Play { item, pcm, rate });
    }

    /// No more audio of the item will come.
    pub fn end_item(&self, item: String) {
        self.send(Command::EndItem(item));
    }

    /// Discards late audio of the item.
    pub fn drop_item(&self, item: String) {
        self.send(Command::DropItem(item));
    }

    /// Silences the playout.
    pub fn flush(&self, fade_ms: u32) {
        self.send(Command::Flush { fade_ms });
    }

    /// Plays bridging audio.
    pub fn mask(&self, name: String, pcm: Vec<u8>, rate: u32, mode: MaskMode, looped: bool) {
        self.send(Command::Mask { name, pcm, rate, mode, looped });
    }

    /// Ends the mask.
    pub fn unmask(&self, fade_ms: u32) {
        self.send(Command::Unmask { fade_ms });
    }

    /// Sends digits.
    pub fn send_dtmf(&self, digits: String, duration: Nanos, gap: Nanos) {
        self.send(Command::SendDtmf { digits, duration, gap });
    }

    /// Records to a WAV file, in place of an earlier one.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn record(&self, path: &Path) -> io::Result<()> {
        let file = WavFile::create(path)?;
        self.send(Command::Record(file));
        Ok(())
    }

    /// Closes the call; `MediaClosed` answers.
    pub fn close(&self) {
        self.send(Command::Close);
    }
}

#[cfg(test)]
impl CallHandle {
    pub(crate) fn panic(&self) {
        self.send(Command::Panic);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::events::EventKind;

    fn engine(port_low: u16) -> Engine {
        Engine::start(EngineConfig {
            host: [127, 0, 0, 1].into(),
            port_low,
            port_high: port_low + 19,
            threads: 2,
            quarantine: Nanos::ZERO,
            rtp_silence: Nanos::from_millis(100),
        })
        .unwrap()
    }

    /// Waits for the next event that `wanted` accepts.
    fn wait(engine: &Engine, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut events = Vec::new();
        for _ in 0..1000 {
            engine.drain(1, &mut events);
            match events.pop() {
                Some(event) if wanted(&event) => return event,
                Some(_) => {}
                None => {
                    let fd = engine.event_fd();
                    let timeout = Timespec::try_from(Duration::from_secs(10)).unwrap();
                    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap();
                }
            }
        }
        panic!("the event did not come");
    }

    fn parameters(port: u16) -> Parameters {
        Parameters {
            remote: ([127, 0, 0, 1], port).into(),
            remote_rtcp: ([127, 0, 0, 1], port + 1).into(),
            rtcp_mux: false,
            codec: trunkline_session::Codec::Pcmu,
            payload_type: 0,
            clock_rate: 8000,
            ptime_ms: 20,
            dtmf_payload_type: None,
            direction: trunkline_session::Direction::SendRecv,
        }
    }

    #[test]
    fn a_panic_ends_one_call_and_no_other() {
        let engine = engine(17_100);
        // Both on the same thread.
        let calls: Vec<CallHandle> = (0..3).map(|_| engine.open().unwrap()).collect();
        let (broken, healthy) = (&calls[0], &calls[2]);
        broken.connect(parameters(calls[1].port()));
        healthy.connect(parameters(calls[1].port()));
        broken.panic();
        let failed = wait(&engine, |event| matches!(event.kind, EventKind::MediaFailed { .. }));
        let EventKind::MediaFailed { detail, bug } = failed.kind else { unreachable!("just matched") };
        assert!(bug && detail.contains("asked for by a test"), "{detail}");
        assert_eq!(failed.call, broken.id());
        wait(&engine, |event| {
            event.call == healthy.id() && matches!(event.kind, EventKind::RtpSilence { .. })
        });
        broken.play("late".into(), vec![0; 320], 8000);
        broken.close();
        let closed = wait(&engine, |event| matches!(event.kind, EventKind::MediaClosed { .. }));
        assert_eq!(closed.call, broken.id());
        assert_eq!(engine.totals().panics, 1);
        assert_eq!(engine.totals().free_ports, 8);
    }

    #[test]
    fn shutting_down_closes_what_is_open_and_is_final() {
        let engine = engine(17_120);
        let call = engine.open().unwrap();
        engine.shut_down();
        engine.shut_down();
        assert!(matches!(engine.open(), Err(EngineError::Closed)));
        call.flush(10);
        assert_eq!(engine.totals().free_ports, 10);
    }

    #[test]
    fn a_recording_is_sealed_when_the_engine_is_shut_down() {
        let path = std::env::temp_dir().join(format!("trunkline-{}.wav", std::process::id()));
        let engine = engine(17_140);
        let call = engine.open().unwrap();
        call.record(&path).unwrap();
        call.connect(parameters(call.port()));
        wait(&engine, |event| matches!(event.kind, EventKind::FirstPacket { .. }));
        engine.shut_down();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let length = u32::from_le_bytes(bytes[40..44].try_into().unwrap()) as usize;
        assert!(length >= 640);
        assert_eq!(bytes.len(), 44 + length);
    }
}
