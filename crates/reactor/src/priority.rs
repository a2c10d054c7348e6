//! The media threads' place among all the work of the machine.

/// Niceness of a media thread, where it may be had: ahead of everything ordinary, Python included.
const NICENESS: i32 = -10;

/// Moves the calling thread ahead of ordinary work, so that its 20 ms ticks come in time on a busy
/// machine. Needs root, `CAP_SYS_NICE` or a limit on niceness that allows it; without, everything
/// works, only less evenly under load.
pub(crate) fn raise() {
    // Linux keeps niceness for each thread. A refusal is the ordinary case of an ordinary user.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}
