//! What Python asks of a call.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use trunkline_session::{MaskMode, Nanos, Parameters, Session};

use crate::engine::CallShared;
use crate::ports::Pair;
use crate::recorder::WavFile;
use crate::resolver::Resolved;
use crate::socket::SocketSpec;
use crate::wake::Wake;

/// Audio handed to `play` that waits for its reactor, per reactor; more is dropped and counted.
pub const MAX_PLAY_BYTES: usize = 64 << 20;

/// One thing to do for a call.
pub(crate) enum Command {
    Open {
        pair: Pair,
        shared: Arc<CallShared>,
        session: Box<Session>,
    },
    Connect(Parameters),
    OpenSocket(Box<SocketSpec>),
    Resolved {
        generation: u64,
        result: Result<Resolved, String>,
    },
    CloseEngine,
    OpenTap {
        rate: u32,
        batch_ms: u32,
    },
    SendText(String),
    Play {
        item: String,
        pcm: Vec<u8>,
        rate: u32,
    },
    EndItem(String),
    DropItem(String),
    Flush {
        fade_ms: u32,
    },
    Mask {
        name: String,
        pcm: Vec<u8>,
        rate: u32,
        mode: MaskMode,
        looped: bool,
    },
    Unmask {
        fade_ms: u32,
    },
    SendDtmf {
        digits: String,
        duration: Nanos,
        gap: Nanos,
    },
    Record(WavFile),
    Sealed,
    Close,
    #[cfg(test)]
    Panic,
}

/// The queue of one reactor.
pub(crate) struct CommandQueue {
    queue: Mutex<Queue>,
    wake: Wake,
    dropped_play: AtomicU64,
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<(u64, Command)>,
    play_bytes: usize,
    stopping: bool,
}

impl CommandQueue {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { queue: Mutex::default(), wake: Wake::new()?, dropped_play: AtomicU64::new(0) })
    }

    /// Queues a command. Control is never refused: only our own code issues it, a few for each
    /// turn of a call. Audio is, beyond [`MAX_PLAY_BYTES`].
    pub(crate) fn push(&self, call: u64, command: Command) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Command::Play { pcm, .. } = &command {
            if queue.play_bytes + pcm.len() > MAX_PLAY_BYTES {
                self.dropped_play.fetch_add(1, Ordering::Relaxed);
                return;
            }
            queue.play_bytes += pcm.len();
        }
        let first = queue.commands.is_empty();
        queue.commands.push_back((call, command));
        drop(queue);
        if first {
            self.wake.wake();
        }
    }

    /// Takes everything; `false` when the reactor is to stop.
    pub(crate) fn take(&self, into: &mut VecDeque<(u64, Command)>) -> bool {
        self.wake.clear();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        into.append(&mut queue.commands);
        queue.play_bytes = 0;
        !queue.stopping
    }

    pub(crate) fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).stopping = true;
        self.wake.wake();
    }

    pub(crate) fn dropped_play(&self) -> u64 {
        self.dropped_play.load(Ordering::Relaxed)
    }
}

impl AsFd for CommandQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
