//! Stereo recordings, written by one thread so that a slow disk never delays a call.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use trunkline_session::{RECORD_FRAME, StereoFrame};

/// Frames of 20 ms in one block.
const FRAMES: usize = 10;
/// Blocks that may be under way to the writer, of all calls together (26 MB); beyond it audio is
/// dropped and counted.
const MAX_BLOCKS: usize = 4096;
/// Empty blocks kept for reuse.
const MAX_SPARE: usize = 1024;
/// How much audio may be missing from the header of a file whose process was killed.
const PATCH_EVERY_BYTES: u32 = 2 * BYTES_PER_SECOND;
const BYTES_PER_SECOND: u32 = 8000 * 4;
const HEADER: u32 = 44;
const BLOCK_BYTES: usize = FRAMES * RECORD_FRAME * 4;

/// What became of recordings, for metrics.
#[derive(Debug, Default)]
pub(crate) struct RecorderCounters {
    pub(crate) dropped_ms: AtomicU64,
    pub(crate) failures: AtomicU64,
    blocks: AtomicUsize,
    /// Written blocks, to be filled again: a steady set of recordings allocates nothing.
    spare: Mutex<Vec<Box<Block>>>,
}

impl RecorderCounters {
    fn spare(&self) -> MutexGuard<'_, Vec<Box<Block>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty block, unless too many are under way.
    fn block(&self, file: &Arc<WavFile>) -> Option<Box<Block>> {
        if self.blocks.fetch_add(1, Ordering::Relaxed) >= MAX_BLOCKS {
            self.blocks.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let spare = self.spare().pop();
        let mut block =
            spare.unwrap_or_else(|| Box::new(Block { file: None, bytes: [0; BLOCK_BYTES], len: 0 }));
        block.file = Some(Arc::clone(file));
        block.len = 0;
        Some(block)
    }

    fn give_back(&self, mut block: Box<Block>) {
        block.file = None;
        self.blocks.fetch_sub(1, Ordering::Relaxed);
        let mut spare = self.spare();
        if spare.len() < MAX_SPARE {
            spare.push(block);
        }
    }
}

enum Job {
    Write(Box<Block>),
    Seal(Arc<WavFile>, Box<dyn FnOnce() + Send>),
    Stop,
}

/// 200 ms of one recording on its way to the disk.
struct Block {
    file: Option<Arc<WavFile>>,
    bytes: [u8; BLOCK_BYTES],
    len: usize,
}

/// The writer thread.
#[derive(Debug)]
pub(crate) struct Recorder {
    jobs: SyncSender<Job>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<RecorderCounters>,
}

impl Recorder {
    pub(crate) fn start(counters: Arc<RecorderCounters>) -> io::Result<Self> {
        // Room for all blocks and for every seal, so that only blocks are ever refused.
        let (jobs, receiver) = sync_channel(MAX_BLOCKS * 4);
        let counted = Arc::clone(&counters);
        let thread = std::thread::Builder::new()
            .name("trunkline-wav".into())
            .spawn(move || run(&receiver, &counted))?;
        Ok(Self { jobs, thread: Some(thread), counters })
    }

    pub(crate) fn handle(&self) -> RecorderHandle {
        RecorderHandle { jobs: self.jobs.clone(), counters: Arc::clone(&self.counters) }
    }

    /// Writes what is still queued and ends the thread.
    pub(crate) fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.jobs.send(Job::Stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A reactor's way to the writer.
#[derive(Debug, Clone)]
pub(crate) struct RecorderHandle {
    jobs: SyncSender<Job>,
    counters: Arc<RecorderCounters>,
}

/// One file being recorded.
pub(crate) struct Recording {
    file: Arc<WavFile>,
    block: Option<Box<Block>>,
    handle: RecorderHandle,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Block").field("len", &self.len).finish_non_exhaustive()
    }
}

impl RecorderHandle {
    pub(crate) fn recording(&self, file: WavFile) -> Recording {
        Recording { file: Arc::new(file), block: None, handle: self.clone() }
    }
}

impl Recording {
    /// Adds 20 ms; never blocks.
    pub(crate) fn push(&mut self, frame: &StereoFrame) {
        if self.block.is_none() {
            self.block = self.handle.counters.block(&self.file);
        }
        let Some(block) = &mut self.block else {
            self.handle.counters.dropped_ms.fetch_add(20, Ordering::Relaxed);
            return;
        };
        for (left, right) in frame.caller.iter().zip(&frame.ours) {
            let at = block.len;
            block.bytes[at..at + 2].copy_from_slice(&left.to_le_bytes());
            block.bytes[at + 2..at + 4].copy_from_slice(&right.to_le_bytes());
            block.len += 4;
        }
        if block.len == BLOCK_BYTES {
            self.send_block();
        }
    }

    fn send_block(&mut self) {
        if let Some(block) = self.block.take()
            && let Err(TrySendError::Full(Job::Write(block)) | TrySendError::Disconnected(Job::Write(block))) =
                self.handle.jobs.try_send(Job::Write(block))
        {
            let ms = block.len as u64 * 1000 / u64::from(BYTES_PER_SECOND);
            self.handle.counters.dropped_ms.fetch_add(ms, Ordering::Relaxed);
            self.handle.counters.give_back(block);
        }
    }

    /// Seals the file; `done` is called on the writer's thread when that has happened.
    pub(crate) fn seal(mut self, done: Box<dyn FnOnce() + Send>) {
        self.send_block();
        let refused = self.handle.jobs.try_send(Job::Seal(Arc::clone(&self.file), done));
        // Cannot be full: there is room for more files than there are ports. If the writer is gone all
        // the same, sealing here costs one small write.
        if let Err(
            TrySendError::Full(Job::Seal(file, done)) | TrySendError::Disconnected(Job::Seal(file, done)),
        ) = refused
        {
            file.seal_or_count(&self.handle.counters);
            done();
        }
    }
}

fn run(jobs: &Receiver<Job>, counters: &RecorderCounters) {
    loop {
        match jobs.recv_timeout(Duration::from_secs(3600)) {
            Ok(Job::Write(block)) => {
                if let Some(file) = &block.file {
                    file.append_or_count(&block.bytes[..block.len], counters);
                }
                counters.give_back(block);
            }
            Ok(Job::Seal(file, done)) => {
                file.seal_or_count(counters);
                done();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A WAV file of two 16-bit channels at 8 kHz whose header is kept up to date.
#[derive(Debug)]
pub(crate) struct WavFile {
    file: File,
    len: AtomicU64,
    in_header: AtomicU64,
    failed: AtomicU64,
}

impl WavFile {
    /// Creates or replaces the file; a readable, empty recording from the start.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let wav =
            Self { file, len: AtomicU64::new(0), in_header: AtomicU64::new(0), failed: AtomicU64::new(0) };
        wav.write_header(0)?;
        Ok(wav)
    }

    fn append_or_count(&self, bytes: &[u8], counters: &RecorderCounters) {
        if self.failed.load(Ordering::Relaxed) > 0 || self.append(bytes).is_err() {
            // The disk is full or gone: the first failure ends this recording, the call goes on.
            if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                counters.failures.fetch_add(1, Ordering::Relaxed);
            }
            let ms = bytes.len() as u64 * 1000 / u64::from(BYTES_PER_SECOND);
            counters.dropped_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let len = self.len.load(Ordering::Relaxed);
        let after = len + bytes.len() as u64;
        if after > u64::from(u32::MAX - HEADER) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all_at(bytes, u64::from(HEADER) + len)?;
        self.len.store(after, Ordering::Relaxed);
        if after - self.in_header.load(Ordering::Relaxed) >= u64::from(PATCH_EVERY_BYTES) {
            self.write_header(after)?;
        }
        Ok(())
    }

    fn seal_or_count(&self, counters: &RecorderCounters) {
        if self.write_header(self.len.load(Ordering::Relaxed)).is_err() {
            counters.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write_header(&self, len: u64) -> io::Result<()> {
        let mut header = [0; HEADER as usize];
        header[..4].copy_from_slice(b"RIFF");
        header[4..8].copy_from_slice(&(len as u32 + HEADER - 8).to_le_bytes());
        header[8..16].copy_from_slice(b"WAVEfmt ");
        header[16..20].copy_from_slice(&16_u32.to_le_bytes());
        header[20..22].copy_from_slice(&1_u16.to_le_bytes());
        header[22..24].copy_from_slice(&2_u16.to_le_bytes());
        header[24..28].copy_from_slice(&8000_u32.to_le_bytes());
        header[28..32].copy_from_slice(&BYTES_PER_SECOND.to_le_bytes());
        header[32..34].copy_from_slice(&4_u16.to_le_bytes());
        header[34..36].copy_from_slice(&16_u16.to_le_bytes());
        header[36..40].copy_from_slice(b"data");
        header[40..44].copy_from_slice(&(len as u32).to_le_bytes());
        self.file.write_all_at(&header, 0)?;
        self.in_header.store(len, Ordering::Relaxed);
        Ok(())
    }
}
