//! The pictures of one row group, in memory.

/// Rows of a shard that are read together, still encoded.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    paths: String,
    path_ends: Vec<usize>,
    labels: Vec<Option<i64>>,
}

impl Block {
    pub(crate) fn push(&mut self, bytes: &[u8], path: &str, label: Option<i64>) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.paths.push_str(path);
        self.path_ends.push(self.paths.len());
        self.labels.push(label);
    }

    pub(crate) fn reserve(&mut self, bytes: usize, rows: usize) {
        self.bytes.reserve_exact(bytes);
        self.ends.reserve_exact(rows);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self, row: usize) -> &[u8] {
        &self.bytes[range(&self.ends, row)]
    }

    pub(crate) fn path(&self, row: usize) -> &str {
        &self.paths[range(&self.path_ends, row)]
    }

    pub(crate) fn label(&self, row: usize) -> Option<i64> {
        self.labels[row]
    }
}

fn range(ends: &[usize], row: usize) -> std::ops::Range<usize> {
    if row == 0 { 0..ends[0] } else { ends[row - 1]..ends[row] }
}
