//! Fixed memory for waiting packets, in order of their media time.

/// A packet that waits; times are on the extended timeline of its buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) at: i64,
    pub(super) samples: u32,
    pub(super) timestamp: u32,
    pub(super) sequence: u16,
    pub(super) marker: bool,
    slot: u16,
    length: u16,
}

impl Entry {
    pub(super) fn end(&self) -> i64 {
        self.at + i64::from(self.samples)
    }
}

/// What is known of a packet before it has a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) at: i64,
    pub(super) samples: u32,
    pub(super) timestamp: u32,
    pub(super) sequence: u16,
    pub(super) marker: bool,
}

/// Payloads in one block of memory, entries sorted by media time; nothing grows after `new`.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    memory: Box<[u8]>,
    slot_len: usize,
    free: Vec<u16>,
    queue: Vec<Entry>,
}

impl Slots {
    pub(super) fn new(count: usize, slot_len: usize) -> Self {
        let count = count.clamp(2, usize::from(u16::MAX));
        let slot_len = slot_len.clamp(1, usize::from(u16::MAX));
        Self {
            memory: vec![0; count * slot_len].into_boxed_slice(),
            slot_len,
            free: (0..count as u16).rev().collect(),
            queue: Vec::with_capacity(count),
        }
    }

    pub(super) fn slot_len(&self) -> usize {
        self.slot_len
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.queue.first()
    }

    pub(super) fn back(&self) -> Option<&Entry> {
        self.queue.last()
    }

    /// Stores a packet in its place; `false` when there is no slot or the payload is too long.
    pub(super) fn insert(&mut self, arrival: Arrival, payload: &[u8]) -> bool {
        if payload.len() > self.slot_len {
            return false;
        }
        let Some(slot) = self.free.pop() else { return false };
        let start = usize::from(slot) * self.slot_len;
        self.memory[start..start + payload.len()].copy_from_slice(payload);
        let Arrival { at, samples, timestamp, sequence, marker } = arrival;
        let entry = Entry { at, samples, timestamp, sequence, marker, slot, length: payload.len() as u16 };
        let place = self.queue.iter().rposition(|waiting| waiting.at <= at).map_or(0, |before| before + 1);
        self.queue.insert(place, entry);
        true
    }

    /// Takes the first packet out. Its payload stays readable until the next insertion.
    pub(super) fn take_front(&mut self) -> Option<Entry> {
        if self.queue.is_empty() {
            return None;
        }
        let entry = self.queue.remove(0);
        self.free.push(entry.slot);
        Some(entry)
    }

    pub(super) fn payload(&self, entry: &Entry) -> &[u8] {
        let start = usize::from(entry.slot) * self.slot_len;
        &self.memory[start..start + usize::from(entry.length)]
    }

    pub(super) fn clear(&mut self) {
        while self.take_front().is_some() {}
    }
}
