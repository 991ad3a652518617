//! How good is a representation? kNN and logistic regression over any matrix of
//! features, with intervals and tests of differences.
//!
//! * [`Features`] is a plain n × d matrix of `f32`.
//! * [`knn`] and [`Probe`] (multinomial logistic regression, fitted to its
//!   optimum) predict classes; [`logistic_probe`] chooses the penalty on held-out
//!   training rows, refits on all, and passes the test set once.
//! * [`Score`] is top-1 with its Wilson interval; [`mcnemar`] compares two
//!   classifiers on the same test set.
//! * With the feature `burn`, [`extract`] makes features out of pictures.
//!
//! ```
//! use byol_eval::{Features, KnnConfig, Score, knn};
//!
//! let train = Features::new(2, vec![1.0, 0.1, 0.9, 0.0, 0.1, 1.0, 0.0, 0.8])?;
//! let test = Features::new(2, vec![0.7, 0.1, 0.2, 0.9])?;
//! let ranked = knn(&train, &[0, 0, 1, 1], &test, KnnConfig { k: 3, temperature: 0.07, n_classes: 2 })?;
//! let score = Score::new(&ranked, &[0, 1]);
//! assert_eq!(score.top1, 1.0);
//! # Ok::<(), byol_eval::EvalError>(())
//! ```

mod error;
mod features;
mod knn;
mod logistic;
mod matrix;
mod score;

#[cfg(feature = "burn")]
mod extract;

pub use error::EvalError;
#[cfg(feature = "burn")]
pub use extract::{extract, extract_some, pixels};
pub use features::{Features, Standardize};
pub use knn::{KnnConfig, knn};
pub use logistic::{Probe, ProbeReport, logistic_probe};
pub use score::{Ranked, Score, mcnemar, wilson};
