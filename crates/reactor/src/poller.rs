//! One reactor's epoll, level-triggered.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use trunkline_session::Nanos;

/// What a descriptor is to its reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Wake,
    Rtp(u32),
    Rtcp(u32),
    Engine(u32),
}

impl Token {
    fn pack(self) -> EventData {
        let (kind, slot) = match self {
            Self::Wake => (0, 0),
            Self::Rtp(slot) => (1, slot),
            Self::Rtcp(slot) => (2, slot),
            Self::Engine(slot) => (3, slot),
        };
        EventData::new_u64(u64::from(slot) << 2 | kind)
    }

    fn unpack(data: u64) -> Self {
        let slot = (data >> 2) as u32;
        match data & 3 {
            0 => Self::Wake,
            1 => Self::Rtp(slot),
            2 => Self::Rtcp(slot),
            _ => Self::Engine(slot),
        }
    }
}

/// A descriptor that is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
}

const BATCH: usize = 512;

/// Buffer for [`Poller::wait`].
pub(crate) type Batch = Vec<Event>;

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    pub(crate) fn batch() -> Batch {
        Vec::with_capacity(BATCH)
    }

    pub(crate) fn add(&self, source: &impl AsFd, token: Token, read: bool, write: bool) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, token.pack(), flags(read, write))?)
    }

    pub(crate) fn change(&self, source: &impl AsFd, token: Token, read: bool, write: bool) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, token.pack(), flags(read, write))?)
    }

    pub(crate) fn remove(&self, source: &impl AsFd) {
        // A descriptor that is closed leaves the set by itself; this only does it earlier.
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Waits until something is ready or `timeout` has passed, rounded up to milliseconds.
    pub(crate) fn wait(&self, batch: &mut Batch, timeout: Nanos) {
        let ms = timeout.0.div_ceil(1_000_000);
        let timeout = Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: ((ms % 1000) * 1_000_000) as i64 };
        batch.clear();
        // An interrupted wait is an empty one; no other error is possible with our own descriptor.
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(batch), Some(&timeout));
    }
}

pub(crate) fn ready(event: Event) -> Ready {
    let (flags, data) = (event.flags, event.data);
    let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
    Ready {
        token: Token::unpack(data.u64()),
        readable: broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
        writable: broken || flags.contains(EventFlags::OUT),
    }
}

fn flags(read: bool, write: bool) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, read);
    flags.set(EventFlags::OUT, write);
    flags
}
