//! What a run writes down while it goes on.

mod jsonl;

pub use jsonl::JsonLines;
