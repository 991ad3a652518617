use thiserror::Error;

/// What can be wrong with features or labels.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A matrix whose values do not fill its rows.
    #[error("{values} values do not make rows of {dim}")]
    Shape {
        /// Length of a row.
        dim: usize,
        /// Values given.
        values: usize,
    },
    /// A value that is not a number.
    #[error("row {row} of the features is not finite: of an encoder that has diverged, or is damaged")]
    NotFinite {
        /// The row.
        row: usize,
    },
    /// Rows and labels, or train and test, do not belong together.
    #[error("{0}")]
    Disagree(String),
    /// A file of embeddings that cannot be read or written.
    #[cfg(feature = "parquet")]
    #[error("{what}: {why}")]
    Embeddings {
        /// What was being done.
        what: String,
        /// Why it cannot be.
        why: String,
    },
    /// A picture could not be prepared.
    #[cfg(feature = "burn")]
    #[error(transparent)]
    Data(#[from] byol_data::DataError),
}
