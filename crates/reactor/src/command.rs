//! What Python asks of a call.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    dropped_play: AtomicU64,
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<(u64, Command)>,
    play_bytes: usize,
    stopping: bool,
    /// Gone when the reactor is: handles of its calls may live longer.
    wake: Option<Arc<Wake>>,
}

impl CommandQueue {
    pub(crate) fn new() -> io::Result<Self> {
        let queue = Queue { wake: Some(Arc::new(Wake::new()?)), ..Queue::default() };
        Ok(Self { queue: Mutex::new(queue), dropped_play: AtomicU64::new(0) })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What wakes the reactor, while it runs.
    pub(crate) fn wake(&self) -> Option<Arc<Wake>> {
        self.queue().wake.clone()
    }

    /// Queues a command. Control is never refused: only our own code issues it, a few for each
    /// turn of a call. Audio is, beyond [`MAX_PLAY_BYTES`].
    pub(crate) fn push(&self, call: u64, command: Command) {
        let mut queue = self.queue();
        if queue.wake.is_none() {
            return;
        }
        if let Command::Play { pcm, .. } = &command {
            if queue.play_bytes + pcm.len() > MAX_PLAY_BYTES {
                self.dropped_play.fetch_add(1, Ordering::Relaxed);
                return;
            }
            queue.play_bytes += pcm.len();
        }
        let wake = if queue.commands.is_empty() { queue.wake.clone() } else { None };
        queue.commands.push_back((call, command));
        drop(queue);
        if let Some(wake) = wake {
            wake.wake();
        }
    }

    /// Takes everything; `false` when the reactor is to stop.
    pub(crate) fn take(&self, into: &mut VecDeque<(u64, Command)>) -> bool {
        let mut queue = self.queue();
        if let Some(wake) = &queue.wake {
            wake.clear();
        }
        into.append(&mut queue.commands);
        queue.play_bytes = 0;
        !queue.stopping
    }

    pub(crate) fn stop(&self) {
        self.queue().stopping = true;
        if let Some(wake) = self.wake() {
            wake.wake();
        }
    }

    /// The reactor has ended: later commands are ignored.
    pub(crate) fn dispose(&self) {
        let mut queue = self.queue();
        queue.wake = None;
        queue.commands.clear();
    }

    pub(crate) fn dropped_play(&self) -> u64 {
        self.dropped_play.load(Ordering::Relaxed)
    }
}
