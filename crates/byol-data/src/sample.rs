/// A picture's number within its split, counted over all shards in order. It
/// stays the same when the split is written as more or fewer shards.
pub type SampleId = u64;

/// A picture as it lies in a set, still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Number within the split.
    pub id: SampleId,
    /// The encoded picture (PNG, JPEG …).
    pub bytes: &'a [u8],
    /// The path that was recorded with it; may be empty.
    pub path: &'a str,
    /// The class, where known.
    pub label: Option<i64>,
}

/// A picture to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSample<'a> {
    /// The encoded picture.
    pub bytes: &'a [u8],
    /// A name to record with it.
    pub path: &'a str,
    /// The class, where known.
    pub label: Option<i64>,
}
