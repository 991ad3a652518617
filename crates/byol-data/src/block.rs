//! The pictures of one row group, in memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of a shard that are read together, still encoded.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The pictures, and whatever stands between them.
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
    paths: String,
    path_ends: Vec<usize>,
    labels: Vec<Option<i64>>,
    /// Where the memory goes when the block is forgotten.
    spare: Option<Arc<Spare>>,
}

impl Block {
    /// A block whose pictures lie at `places` of what it is filled with; paths and labels
    /// follow.
    pub(crate) fn of(places: Vec<Range<usize>>, spare: Option<Arc<Spare>>) -> Self {
        let mut block = Self::default();
        (block.places, block.spare) = (places, spare);
        block
    }

    /// Gives the memory in which the places lie.
    pub(crate) fn fill(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Adds a picture.
    pub(crate) fn push(&mut self, bytes: &[u8], path: &str, label: Option<i64>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.places.push(start..self.bytes.len());
        self.describe(path, label);
    }

    /// Path and label of the next picture that has none.
    pub(crate) fn describe(&mut self, path: &str, label: Option<i64>) {
        self.paths.push_str(path);
        self.path_ends.push(self.paths.len());
        self.labels.push(label);
    }

    pub(crate) fn reserve(&mut self, bytes: usize, rows: usize) {
        self.bytes.reserve_exact(bytes);
        self.places.reserve_exact(rows);
    }

    /// Pictures that have all that belongs to them.
    pub(crate) fn len(&self) -> usize {
        self.labels.len().min(self.places.len())
    }

    pub(crate) fn bytes(&self, row: usize) -> &[u8] {
        &self.bytes[self.places[row].clone()]
    }

    pub(crate) fn path(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.path_ends[row - 1] };
        &self.paths[start..self.path_ends[row]]
    }

    pub(crate) fn label(&self, row: usize) -> Option<i64> {
        self.labels[row]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(spare) = &self.spare {
            spare.give(std::mem::take(&mut self.bytes));
        }
    }
}

/// Memory of forgotten blocks, for the next ones. Blocks live long and their sizes differ a
/// little; between the short-lived buffers of decoders they would leave the heap in pieces.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<u8>>>);

/// Buffers that are kept: more than threads can be reading at once are not needed.
const MAX_SPARE: usize = 16;
/// Capacities are multiples of this, so that one fits the next.
const STEP: usize = 256 << 10;

impl Spare {
    /// An empty buffer with room for `length` bytes.
    pub(crate) fn take(&self, length: usize) -> Vec<u8> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is much too large would stay so, and blocks weigh what is in them.
        let most = length.saturating_mul(2).max(STEP);
        let fits = spare.iter().position(|buffer| (length..=most).contains(&buffer.capacity()));
        fits.map_or_else(|| Vec::with_capacity(length.next_multiple_of(STEP)), |i| spare.swap_remove(i))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MAX_SPARE && buffer.capacity() > 0 {
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_memory_fits_or_is_left() {
        let spare = Spare::default();
        spare.give(Vec::with_capacity(20 << 20));
        assert!(spare.take(1 << 20).capacity() < 2 << 20, "not the large one");
        assert!(spare.take(15 << 20).capacity() >= 20 << 20, "the large one");
    }
}
