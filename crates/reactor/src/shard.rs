//! One reactor thread: an epoll loop, a wheel of eight phases, and its calls.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use trunkline_session::Nanos;

use crate::call::{Call, Context};
use crate::clock;
use crate::command::Command;
use crate::engine::Counters;
use crate::events::{EventKind, EventQueue};
use crate::poller::{Poller, Token, ready};

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
        }
    }

    /// Runs until the command queue says stop; then drops every call.
    pub(crate) fn run(mut self) {
        let mut batch = Poller::batch();
        let mut commands = VecDeque::new();
        let mut running = true;
        while running {
            let idle = self.by_id.is_empty();
            let timeout = if idle { IDLE } else { self.next.since(clock::now()) };
            self.context.poller.wait(&mut batch, timeout);
            let now = clock::now();
            if idle {
                self.next = now + STEP;
            }
            for event in batch.drain(..) {
                let ready = ready(event);
                match ready.token {
                    Token::Wake => running &= self.context.commands.take(&mut commands),
                    Token::Rtp(slot) => {
                        self.with(slot, now, |call, context| call.rtp_ready(now, false, context));
                    }
                    Token::Rtcp(slot) => {
                        self.with(slot, now, |call, context| call.rtp_ready(now, true, context));
                    }
                    Token::Engine(slot) => self.with(slot, now, |call, context| {
                        call.engine_ready(now, (ready.readable, ready.writable), context);
                    }),
                }
            }
            self.turn();
            while !commands.is_empty() {
                for (id, command) in commands.drain(..commands.len().min(COMMAND_BATCH)) {
                    self.command(id, command);
                }
                self.turn();
            }
            self.reap();
            self.queue.push_all(&mut self.context.events);
            self.follow_congestion();
        }
        let now = clock::now();
        for call in self.calls.iter_mut().flatten() {
            call.guarded(now, &mut self.context, |call, context| call.abandon(now, context));
        }
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
