//! Two-view image augmentation for self-supervised learning, as in BYOL
//! (Grill et al., NeurIPS 2020, Appendix B, Table 6): exact, per picture, and
//! reproducible from a key.
//!
//! * [`Pixels`] borrows an 8-bit picture, rows of interleaved channels.
//! * [`TwoViewPolicy`] is the recipe as plain data: `T`, and `T′` as `T` with
//!   differences. [`ViewPolicy`] is one of the two.
//! * [`ViewKey`] names a view; sampling a policy with it gives [`ViewParams`],
//!   everything that was drawn, which can be printed, stored and replayed.
//! * [`ViewPolicy::apply`] makes the view: normalised `f32`, channels first,
//!   into a slice of yours, with a reusable [`Workspace`].
//! * [`Semantics`] says whose arithmetic: the paper's, or torchvision's on 8-bit
//!   tensors. Every difference is in `docs/parity.md`.
//! * [`ResolvedPolicy::multi_crop`] gives policies for more than two views,
//!   [`EvalTransform`] prepares pictures when nothing is random.
//! * [`Path`] is the instruction set in use; the best one is chosen by itself.
//!
//! A view depends only on (policy, seed, epoch, sample, view, pixels): never on
//! threads, batches or the order of calls. (Processors without AVX2 may differ in the
//! last place of an `f32`.) The crate knows no tensor library,
//! reads no file and starts no thread.
//!
//! ```
//! use byol_augment::{Pixels, TwoViewPolicy, ViewKey, Workspace};
//!
//! let photo = vec![128u8; 48 * 40 * 3];
//! let pixels = Pixels::new(&photo, 48, 40, 3)?;
//! let policy = TwoViewPolicy::preset("byol")?.with_size(32).resolve(3)?;
//! let mut workspace = Workspace::default();
//! let mut view = vec![0.0f32; policy.view.output_len(3)];
//!
//! let key = ViewKey { seed: 0, epoch: 0, sample: 7, view: 0 };
//! let params = policy.view.sample(key, pixels.shape())?;
//! policy.view.apply(&params, pixels, &mut workspace, &mut view)?;
//! # Ok::<(), byol_augment::AugmentError>(())
//! ```

mod apply;
mod error;
mod eval;
mod kernels;
mod key;
mod multi_crop;
mod op;
mod ops;
mod params;
mod pixels;
mod policy;
#[cfg(all(test, feature = "presets"))]
mod policy_tests;
#[cfg(feature = "presets")]
mod presets;
mod program;
mod rules;
mod sample;

pub use apply::Workspace;
pub use error::AugmentError;
pub use eval::EvalTransform;
pub use kernels::Path;
pub use key::ViewKey;
pub use multi_crop::CropGroup;
pub use op::{Border, Op, OpKind};
pub use params::{ChannelGains, CropBox, JitterOp, JitterSteps, OpParams, ViewParams};
pub use pixels::{PixelShape, Pixels};
pub use policy::{
    CropFit, CropPolicy, Filter, Normalize, Resample, ResolvedPolicy, Semantics, TwoViewPolicy, ViewPolicy,
};
pub use rules::Omission;
