//! Events on their way to Python.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use trunkline_session::{Heard, Nanos, Stats};

use crate::wake::Wake;

/// Most taps that wait; then the oldest is dropped and counted.
pub const MAX_TAPS: usize = 8192;

/// Control events that wait before the reactors stop reading from engines. Control is never dropped.
pub const MAX_CONTROL: usize = 16_384;

/// Events of each kind that need no allocation of the queue.
const INITIAL_ROOM: usize = 1024;

/// Something that happened in a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which call.
    pub call: u64,
    /// When.
    pub at: Nanos,
    /// What.
    pub kind: EventKind,
}

/// What happened; the names and fields are those of `telephony/media/port.py`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented where Python sees them")]
pub enum EventKind {
    FirstPacket { source: String },
    CallerSpeech { started: bool, lag_ms: u32 },
    Digit { digit: char, duration_ms: u32 },
    PlayStarted { item: String },
    PlayEnded { heard: Heard },
    Flushed { heard: Vec<Heard> },
    MaskStarted { name: String },
    MaskEnded { name: String, played_ms: u32 },
    EngineOpened { subprotocol: String },
    EngineText { text: String },
    EngineClosed { code: u16, reason: String, status: u16, by_us: bool },
    Tap { pcm: Vec<u8>, rate: u32 },
    RtpSilence { quiet_ms: u32 },
    MediaFailed { detail: String, bug: bool },
    MediaClosed { last_rtp_sent_at: Nanos, stats: Box<Stats> },
}

/// The queue all reactors put into and Python takes from.
#[derive(Debug)]
pub(crate) struct EventQueue {
    inner: Mutex<Inner>,
    wake: Wake,
    dropped_taps: AtomicU64,
    congested: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    next: u64,
    control: VecDeque<(u64, Event)>,
    taps: VecDeque<(u64, Event)>,
    signalled: bool,
}

impl EventQueue {
    pub(crate) fn new() -> io::Result<Self> {
        let room = || VecDeque::with_capacity(INITIAL_ROOM);
        let inner = Inner { next: 0, control: room(), taps: room(), signalled: false };
        Ok(Self {
            inner: Mutex::new(inner),
            wake: Wake::new()?,
            dropped_taps: AtomicU64::new(0),
            congested: AtomicBool::new(false),
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(crate) fn dropped_taps(&self) -> u64 {
        self.dropped_taps.load(Ordering::Relaxed)
    }

    /// Python is so far behind that engines must wait: stop reading their sockets.
    pub(crate) fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.control.len() + inner.taps.len()
    }

    /// Moves all of `batch` into the queue with at most one wake-up.
    pub(crate) fn push_all(&self, batch: &mut Vec<Event>) {
        if batch.is_empty() {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for event in batch.drain(..) {
            let number = inner.next;
            inner.next += 1;
            if matches!(event.kind, EventKind::Tap { .. }) {
                if inner.taps.len() == MAX_TAPS {
                    inner.taps.pop_front();
                    self.dropped_taps.fetch_add(1, Ordering::Relaxed);
                }
                inner.taps.push_back((number, event));
            } else {
                inner.control.push_back((number, event));
            }
        }
        self.congested.store(inner.control.len() >= MAX_CONTROL, Ordering::Relaxed);
        let signal = !inner.signalled;
        inner.signalled = true;
        drop(inner);
        if signal {
            self.wake.wake();
        }
    }

    /// Takes up to `max` events in order. The descriptor stays readable while some are left.
    pub(crate) fn drain(&self, max: usize, out: &mut Vec<Event>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while out.len() < max {
            let tap = inner.taps.front().map_or(u64::MAX, |&(number, _)| number);
            let control = inner.control.front().map_or(u64::MAX, |&(number, _)| number);
            let next = if tap < control { inner.taps.pop_front() } else { inner.control.pop_front() };
            let Some((_, event)) = next else {
                break;
            };
            out.push(event);
        }
        self.congested.store(inner.control.len() >= MAX_CONTROL, Ordering::Relaxed);
        if inner.taps.is_empty() && inner.control.is_empty() && inner.signalled {
            inner.signalled = false;
            self.wake.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tap(call: u64) -> Event {
        Event { call, at: Nanos::ZERO, kind: EventKind::Tap { pcm: Vec::new(), rate: 8000 } }
    }

    fn control(call: u64) -> Event {
        Event { call, at: Nanos::ZERO, kind: EventKind::EngineText { text: String::new() } }
    }

    fn take(queue: &EventQueue, max: usize) -> Vec<u64> {
        let mut out = Vec::new();
        queue.drain(max, &mut out);
        out.iter().map(|event| event.call).collect()
    }

    #[test]
    fn order_holds_across_kinds() {
        let queue = EventQueue::new().unwrap();
        queue.push_all(&mut vec![tap(1), control(2), tap(3), tap(4), control(5)]);
        assert_eq!(take(&queue, 3), [1, 2, 3]);
        assert_eq!(take(&queue, 9), [4, 5]);
        assert_eq!(take(&queue, 9), []);
    }

    #[test]
    fn only_taps_give_way() {
        let queue = EventQueue::new().unwrap();
        queue.push_all(&mut vec![control(1)]);
        let mut many: Vec<Event> = (0..MAX_TAPS as u64 + 10).map(|index| tap(100 + index)).collect();
        queue.push_all(&mut many);
        queue.push_all(&mut vec![control(2)]);
        assert_eq!(queue.dropped_taps(), 10);
        let all = take(&queue, usize::MAX);
        assert_eq!((all[0], all[1], all.last(), all.len()), (1, 110, Some(&2), MAX_TAPS + 2));
    }

    #[test]
    fn too_much_control_congests_until_it_is_drained() {
        let queue = EventQueue::new().unwrap();
        queue.push_all(&mut (0..MAX_CONTROL as u64).map(control).collect());
        assert!(queue.is_congested());
        take(&queue, 256);
        assert!(!queue.is_congested());
    }
}
