//! The run: one loop over sockets and deadlines.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, UdpSocket};
use mio::{Events, Interest, Poll, Token};

use crate::engine::Session;
use crate::meter::{CallFrames, Meter, Usage};
use crate::options::Options;
use crate::phone::{Phone, State};
use crate::report::Outcome;
use crate::sip::{Dialog, Message};

const SIP: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_PHONE: usize = 2;
const FIRST_SESSION: usize = 1 << 20;
/// After the window: what is under way may arrive, then calls are hung up, then late answers.
const DRAIN: u64 = 1_500_000_000;
const GOODBYES: u64 = 2_000_000_000;
/// The echo is silent for this long, this long before the window: queues left from the set-ups drain.
const BREATH: u64 = 300_000_000;
const BREATH_BEFORE: u64 = 1_000_000_000;
const SECOND: f64 = 1e9;

/// A deadline: when, what, for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Send(usize),
    Retransmit(usize),
    Start(usize),
    HangUp(usize),
}

struct Bench<'a> {
    options: &'a Options,
    clock: Instant,
    poll: Poll,
    sip: UdpSocket,
    listener: TcpListener,
    phones: Vec<Phone>,
    frames: Vec<CallFrames>,
    sessions: HashMap<usize, Session>,
    next_session: usize,
    tasks: BinaryHeap<Reverse<(u64, Task)>>,
    meter: Meter,
    run_id: u32,
    generation: u32,
    measuring: bool,
    counts: Counts,
}

/// Calls by their fate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) dropped: u64,
    pub(crate) statuses: HashMap<u16, u64>,
    pub(crate) retransmitted: u64,
    pub(crate) packets_back: u64,
}

/// Plays the whole run.
pub(crate) fn run(options: &Options) -> Result<Outcome, String> {
    let mut bench = Bench::open(options)?;
    match options.setups {
        None => bench.steady(),
        Some(rate) => bench.set_ups(rate),
    }
}

impl<'a> Bench<'a> {
    fn open(options: &'a Options) -> Result<Self, String> {
        let poll = Poll::new().map_err(cannot_open("an event queue"))?;
        let mut sip = UdpSocket::bind(options.sip).map_err(cannot_open("the phones' SIP port"))?;
        let mut listener = TcpListener::bind(options.engine).map_err(cannot_open("the engine's port"))?;
        let registry = poll.registry();
        registry.register(&mut sip, SIP, Interest::READABLE).map_err(cannot_open("SIP"))?;
        registry.register(&mut listener, LISTENER, Interest::READABLE).map_err(cannot_open("the engine"))?;
        let run_id = std::process::id();
        let uri = format!("sip:{}@{}", options.to, options.target);
        let mut phones = Vec::new();
        let mut ports = (options.rtp_base..u16::MAX - 1).step_by(2);
        for index in 0..options.phones() {
            let dialog = Dialog::new(options.sip, &uri, run_id, index, 0);
            // A port that somebody else has is passed over.
            let open = ports.find_map(|port| Phone::open(index, port, dialog.clone()).ok());
            let mut phone = open.ok_or("no free RTP ports above --rtp-base for so many phones")?;
            registry
                .register(&mut phone.socket, Token(FIRST_PHONE + index), Interest::READABLE)
                .map_err(cannot_open("RTP"))?;
            phones.push(phone);
        }
        Ok(Self {
            options,
            clock: Instant::now(),
            poll,
            sip,
            listener,
            frames: phones.iter().map(|_| CallFrames::default()).collect(),
            phones,
            sessions: HashMap::new(),
            next_session: FIRST_SESSION,
            tasks: BinaryHeap::new(),
            meter: Meter::default(),
            run_id,
            generation: 0,
            measuring: false,
            counts: Counts::default(),
        })
    }

    /// N calls at a time, measured in a window in which nothing begins or ends.
    fn steady(&mut self) -> Result<Outcome, String> {
        let idle = self.usage();
        let start = self.now();
        for index in 0..self.phones.len() {
            // Phones do not send in step: each has its own place in the 20 ms.
            let place = index as u64 * 7_368_787 % crate::phone::PERIOD;
            self.at(start + (index as f64 / self.options.ramp * SECOND) as u64 + place, Task::Start(index));
        }
        let ramp = self.phones.len() as f64 / self.options.ramp + self.options.settle;
        let begin = start + (ramp * SECOND) as u64;
        self.turn_until(begin.saturating_sub(BREATH_BEFORE))?;
        let silent_from = self.now();
        for session in self.sessions.values_mut() {
            session.breathe(silent_from..silent_from + BREATH);
        }
        self.turn_until(begin)?;
        let (gateway_before, own_before, from) = (self.usage(), own_usage(), self.now());
        let up = self.up();
        self.measuring = true;
        self.meter.lateness = crate::meter::Distribution::default();
        self.turn_until(from + (self.options.window * SECOND) as u64)?;
        self.measuring = false;
        let (gateway, own, until) = (self.usage(), own_usage(), self.now());
        let up = up.min(self.up());
        self.turn_until(until + DRAIN)?;
        for index in 0..self.phones.len() {
            self.hang_up(index);
        }
        let over = self.now() + GOODBYES;
        self.turn_until(over)?;
        self.finish((idle, gateway_before, gateway), (own_before, own), (until - from) as f64 / SECOND, up)
    }

    /// R calls a second, each held for a while.
    fn set_ups(&mut self, rate: f64) -> Result<Outcome, String> {
        let (idle, own_before, start) = (self.usage(), own_usage(), self.now());
        let count = (rate * self.options.window) as usize;
        for number in 0..count {
            let at = start + (number as f64 / rate * SECOND) as u64;
            self.at(at, Task::Start(number % self.phones.len()));
        }
        let until = start + (self.options.window * SECOND) as u64;
        self.turn_until(until)?;
        let (gateway, own) = (self.usage(), own_usage());
        let over = self.now() + (self.options.hold * SECOND) as u64 + GOODBYES;
        self.turn_until(over)?;
        let up = self.up();
        self.finish((idle.clone(), idle, gateway), (own_before, own), self.options.window, up)
    }

    fn finish(
        &mut self,
        gateway: (Usage, Usage, Usage),
        own: (Usage, Usage),
        seconds: f64,
        up: usize,
    ) -> Result<Outcome, String> {
        for (phone, frames) in self.phones.iter().zip(&mut self.frames) {
            self.meter.call_over(frames);
            self.counts.retransmitted += phone.retransmitted;
            self.counts.packets_back += phone.received;
        }
        if self.counts.asked == 0 {
            return Err("no call was made".into());
        }
        Ok(Outcome {
            meter: std::mem::take(&mut self.meter),
            counts: self.counts.clone(),
            up,
            seconds,
            gateway,
            own,
        })
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    fn at(&mut self, when: u64, task: Task) {
        self.tasks.push(Reverse((when, task)));
    }

    fn up(&self) -> usize {
        self.phones.iter().filter(|phone| phone.state == State::Up).count()
    }

    fn usage(&self) -> Usage {
        self.options.watch.map(Usage::of).unwrap_or_default()
    }

    fn turn_until(&mut self, end: u64) -> Result<(), String> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = self.now();
            if now >= end {
                return Ok(());
            }
            let next = self.tasks.peek().map_or(end, |Reverse((when, _))| (*when).min(end));
            let wait = Duration::from_nanos(next.saturating_sub(now));
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(format!("cannot wait for sockets: {error}"));
                }
                _ => {}
            }
            for event in &events {
                match event.token() {
                    SIP => self.read_sip(),
                    LISTENER => self.accept(),
                    Token(token) if token >= FIRST_SESSION => self.session(token),
                    Token(token) => {
                        let index = token - FIRST_PHONE;
                        let clock = self.clock;
                        let now = || clock.elapsed().as_nanos() as u64;
                        self.phones[index].receive(now, &mut self.meter, &mut self.frames[index]);
                    }
                }
                // Reading a burst must not make our own packets late.
                self.due();
            }
            self.due();
        }
    }

    fn due(&mut self) {
        while let Some(&Reverse((when, task))) = self.tasks.peek() {
            let now = self.now();
            if when > now {
                return;
            }
            self.tasks.pop();
            match task {
                Task::Send(index) => {
                    let phone = &mut self.phones[index];
                    // The call ended, or is another one with its own schedule.
                    if phone.state == State::Up && phone.next_send == when {
                        phone.send(now, &mut self.meter, &mut self.frames[index], self.measuring);
                        let next = phone.next_send;
                        self.at(next, Task::Send(index));
                    }
                }
                Task::Retransmit(index) => {
                    if self.phones[index].due() == when {
                        let before = self.phones[index].state;
                        let text = self.phones[index].retransmit(now);
                        self.transmit(text);
                        self.follow(index, before);
                    }
                }
                Task::Start(index) => self.start(index),
                Task::HangUp(index) => self.hang_up(index),
            }
        }
    }

    fn start(&mut self, index: usize) {
        self.counts.asked += 1;
        if !matches!(self.phones[index].state, State::Idle) {
            if matches!(self.phones[index].state, State::Calling | State::Up | State::Leaving) {
                // Every phone is still busy with an earlier call.
                self.counts.failed += 1;
                return;
            }
            self.generation += 1;
            let uri = format!("sip:{}@{}", self.options.to, self.options.target);
            let dialog = Dialog::new(self.options.sip, &uri, self.run_id, index, self.generation);
            self.phones[index].again(dialog);
        }
        let now = self.now();
        let text = self.phones[index].call(now);
        self.transmit(Some(text));
        let due = self.phones[index].due();
        self.at(due, Task::Retransmit(index));
    }

    fn hang_up(&mut self, index: usize) {
        let now = self.now();
        if let Some(text) = self.phones[index].hang_up(now) {
            self.transmit(Some(text));
            let due = self.phones[index].due();
            self.at(due, Task::Retransmit(index));
        }
    }

    fn transmit(&self, text: Option<String>) {
        if let Some(text) = text {
            // A datagram that is not taken will be sent again like one that was lost.
            let _ = self.sip.send_to(text.as_bytes(), self.options.target);
        }
    }

    fn read_sip(&mut self) {
        let mut datagram = [0; 8192];
        while let Ok((length, source)) = self.sip.recv_from(&mut datagram) {
            let Some(message) = Message::parse(&datagram[..length]) else { continue };
            let Some((index, _)) = message.call(self.run_id).filter(|(index, _)| *index < self.phones.len())
            else {
                if message.status().is_none() && message.method() != "ACK" {
                    let answer = message.response("200 OK", "", "");
                    let _ = self.sip.send_to(answer.as_bytes(), source);
                }
                continue;
            };
            let now = self.now();
            let before = self.phones[index].state;
            let answer = if message.status().is_some() {
                self.phones[index].response(&message, now, &mut self.meter)
            } else {
                self.phones[index].request(&message)
            };
            if let Some(answer) = answer {
                let _ = self.sip.send_to(answer.as_bytes(), source);
            }
            self.follow(index, before);
        }
    }

    /// Books a change of a call's state and sets its next deadlines.
    fn follow(&mut self, index: usize, before: State) {
        let phone = &self.phones[index];
        let (state, due, next_send) = (phone.state, phone.due(), phone.next_send);
        if due != u64::MAX {
            self.at(due, Task::Retransmit(index));
        }
        if state == before {
            return;
        }
        match state {
            State::Up => {
                self.counts.answered += 1;
                self.at(next_send, Task::Send(index));
                if self.options.setups.is_some() {
                    let end = self.phones[index].answered_at() + (self.options.hold * SECOND) as u64;
                    self.at(end, Task::HangUp(index));
                }
            }
            State::Failed => {
                self.counts.failed += 1;
                *self.counts.statuses.entry(self.phones[index].status).or_default() += 1;
            }
            State::Done if before == State::Up => self.counts.dropped += 1,
            State::Done | State::Idle | State::Calling | State::Leaving => {}
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let token = self.next_session;
            self.next_session += 1;
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(token), interest).is_ok() {
                self.sessions.insert(token, Session::new(stream));
                self.session(token);
            }
        }
    }

    fn session(&mut self, token: usize) {
        let clock = self.clock;
        let now = || clock.elapsed().as_nanos() as u64;
        let Some(session) = self.sessions.get_mut(&token) else { return };
        let over = session.flush().is_err() || session.ready(now, &mut self.meter, &mut self.frames).is_err();
        if over && let Some(mut session) = self.sessions.remove(&token) {
            // The descriptor is closed right after; leaving the queue by itself is the same.
            let _ = self.poll.registry().deregister(&mut session.stream);
        }
    }
}

fn cannot_open(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("cannot open {what}: {error}")
}

fn own_usage() -> Usage {
    Usage::of(std::process::id())
}
