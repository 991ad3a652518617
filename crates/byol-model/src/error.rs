use thiserror::Error;

/// What can be wrong with a network's description or its weights.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelError {
    /// A value of a configuration is out of range.
    #[error("encoder: `{key}` is {value}, expected {expected}")]
    Config {
        /// The key.
        key: &'static str,
        /// What it was.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A file of weights cannot be read.
    #[error("weights: {0}")]
    Unreadable(String),
    /// A file of weights does not fit the network; nothing was loaded.
    #[error("weights do not fit, nothing was loaded: {}", .0.join("; "))]
    Mismatch(Vec<String>),
}
