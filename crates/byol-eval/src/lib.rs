//! How good is a representation? kNN and logistic regression over any matrix of
//! features, with intervals and tests of differences.
//!
//! * [`Features`] is a plain n × d matrix of `f32`.
//! * [`nearest`] finds neighbours, [`knn`] lets them vote; [`Probe`] is multinomial
//!   logistic regression, fitted to its optimum; [`logistic_probe`] chooses its penalty
//!   on held-out training rows and refits on all;
//!   [`linear_probe`] is the paper's own protocol, by stochastic gradient descent.
//! * [`Score`] is top-1 with its Wilson interval; [`mcnemar`] compares two
//!   classifiers on the same test set; [`Confusion`] says what is taken for what.
//! * [`balanced_share`] picks the few labels of a semi-supervised protocol,
//!   [`principal_plane`] draws rows as points of a plane.
//! * With the feature `parquet`, `Embeddings` reads and writes them as files; with
//!   `burn`, `extract` makes features out of pictures and `finetune` trains all of a network on
//!   labels.
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
mod labels;
mod linear;
mod logistic;
mod product;
mod project;
mod score;

#[cfg(feature = "parquet")]
mod embeddings;
#[cfg(feature = "burn")]
mod extract;
#[cfg(feature = "burn")]
mod finetune;
#[cfg(feature = "burn")]
#[cfg(test)]
mod pictures;

#[cfg(feature = "parquet")]
pub use embeddings::{Embeddings, EmbeddingsWriter, RowInfo};
pub use error::EvalError;
#[cfg(feature = "burn")]
pub use extract::{extract, extract_each, extract_some, extract_views, pictures_at_once, pixels};
pub use features::{Features, Standardize};
#[cfg(feature = "burn")]
pub use finetune::{Classifier, FinetuneConfig, FinetuneReport, Labelled, Training, Trial, finetune};
pub use knn::{KnnConfig, Neighbors, knn, nearest, nearest_others, vote};
pub use labels::{balanced_share, every_nth, every_nth_of_classes, folds_of_classes};
pub use linear::{LinearConfig, LinearProbe, LinearReport, LinearSweep, linear_probe};
pub use logistic::{ChosenProbe, Probe, ProbeReport, logistic_probe, penalties};
pub use project::{Plane, principal_plane};
pub use score::{Confusion, Ranked, Score, mcnemar, wilson};

/// The crate page's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
