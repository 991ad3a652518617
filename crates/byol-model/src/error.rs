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
    /// A file of weights is for another architecture; nothing was loaded.
    #[error("weights of another architecture, nothing was loaded: {0}")]
    Architecture(String),
    /// A file of weights does not fit the network, key by key; nothing was loaded.
    #[error("weights do not fit, nothing was loaded: {}", listed(.0))]
    Mismatch(Vec<String>),
    /// Something is wrong with a file.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// What.
        why: Box<ModelError>,
    },
}

/// Faults that are printed; the value has all.
const PRINTED: usize = 40;

fn listed(faults: &[String]) -> String {
    let mut text = faults.iter().take(PRINTED).cloned().collect::<Vec<_>>().join("; ");
    if faults.len() > PRINTED {
        text.push_str(&format!("; and {} more", faults.len() - PRINTED));
    }
    text
}

impl ModelError {
    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        Self::File { path: path.display().to_string(), why: Box::new(self) }
    }
}
