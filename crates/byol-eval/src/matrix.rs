//! Rows of features as blocks of matrices. Blocks have a fixed size and their
//! results are joined in order, so that sums do not depend on the threads.

use nalgebra::DMatrix;
use rayon::prelude::*;

/// Rows in a block.
pub(crate) const BLOCK: usize = 1024;

/// Applies `f` to every block index of `n_rows` rows in parallel, results in order.
pub(crate) fn map_blocks<T: Send>(n_rows: usize, f: impl Fn(std::ops::Range<usize>) -> T + Sync) -> Vec<T> {
    (0..n_rows.div_ceil(BLOCK)).into_par_iter().map(|i| f(i * BLOCK..((i + 1) * BLOCK).min(n_rows))).collect()
}

/// A block of rows and its transpose: nalgebra's fast product is the plain one.
#[derive(Debug)]
pub(crate) struct Block {
    /// rows × columns.
    pub rows: DMatrix<f64>,
    /// columns × rows.
    pub transposed: DMatrix<f64>,
}
