//! Counts heap allocations, so that a test can prove that a path makes none.
//!
//! Owns one global allocator that forwards to the system's and counts on the way. It is a
//! development dependency only; it refuses to be clever about time, size classes or back traces.
//!
//! ```
//! use trunkline_testalloc::{CountingAllocator, allocations_in};
//!
//! #[global_allocator]
//! static ALLOCATOR: CountingAllocator = CountingAllocator;
//!
//! let (sum, counted) = allocations_in(|| (1..=10).sum::<u32>());
//! assert_eq!((sum, counted), (55, 0));
//! let (_, counted) = allocations_in(|| vec![0_u8; 100]);
//! assert_eq!(counted, 1);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Per thread: the test harness runs other tests, which may allocate, at the same time.
    // Const-initialised and without a destructor, so that touching it never allocates itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system allocator with a counter; install it with `#[global_allocator]`.
pub struct CountingAllocator;

/// Allocations and reallocations made by this thread so far (frees are not counted).
///
/// Stays 0 when [`CountingAllocator`] is not the global allocator of the binary.
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Runs `work` and returns its result with the number of allocations it made on this thread.
pub fn allocations_in<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = allocations();
    let result = work();
    (result, allocations() - before)
}

fn count() {
    // The thread-local is gone while a thread is being torn down; nothing is measured there.
    let _ = ALLOCATIONS.try_with(|counter| counter.set(counter.get() + 1));
}

// SAFETY: every method forwards to `System` with the caller's arguments unchanged, so `System`'s
// guarantees hold; counting neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds `GlobalAlloc::alloc`'s contract for this layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds `GlobalAlloc::alloc_zeroed`'s contract for this layout.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `ptr` came from this allocator, that is from `System`, with this layout.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from this allocator, that is from `System`, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}
