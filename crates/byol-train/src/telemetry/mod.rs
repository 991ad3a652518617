//! What a run writes down while it goes on.

mod jsonl;
mod records;
mod tensorboard;

pub use jsonl::JsonLines;
pub use tensorboard::TensorBoard;
