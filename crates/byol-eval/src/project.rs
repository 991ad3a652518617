//! Rows as points of a plane.

use faer::{Accum, Mat, Side};

use crate::product::{blocks, leave_vectors, map_parts, multiply, rows_of, total};
use crate::{EvalError, Features};

/// Rows in the plane of their two principal components.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// Of each row, its place along the first and the second component.
    pub points: Vec<[f64; 2]>,
    /// Shares of the variance along them.
    pub explained: [f64; 2],
}

/// The two directions of largest variance of the centred rows, each with its largest entry
/// positive. Rows of one feature, and features without variance, have zeros in their place.
///
/// # Errors
///
/// If the covariance has no eigenvectors, as of features beyond the range of numbers.
pub fn principal_plane(features: &Features) -> Result<Plane, EvalError> {
    let d = features.dim();
    let mean = features.mean();
    let centred = |range: std::ops::Range<usize>| -> Vec<f64> {
        let rows = range.map(|i| features.row(i));
        rows.flat_map(|row| row.iter().zip(&mean).map(|(x, m)| f64::from(*x) - m)).collect()
    };
    let parts = map_parts(features.len(), |part| {
        let mut gram = vec![0.0; d * d];
        for block in blocks(part) {
            let x = centred(block);
            let x = rows_of(&x, d);
            multiply(&mut gram, Accum::Add, x.transpose(), x);
        }
        gram
    });
    let gram = total(parts, d * d);
    let covariance = rows_of(&gram, d);
    let trace: f64 = (0..d).map(|i| covariance[(i, i)]).sum();
    let eigen = covariance.self_adjoint_eigen(Side::Lower).map_err(|_| {
        EvalError::Disagree("the covariance of the features has no eigenvectors; are they very large?".into())
    })?;
    let mut axes = Mat::<f64>::zeros(d, 2);
    let mut explained = [0.0; 2];
    for which in 0..2.min(d) {
        let column = d - 1 - which; // eigenvalues rise
        let vector = eigen.U().col(column);
        let largest = (0..d).map(|i| vector[i]).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
        for i in 0..d {
            axes[(i, which)] = vector[i] * largest.signum();
        }
        if trace > 0.0 {
            explained[which] = (eigen.S()[column] / trace).clamp(0.0, 1.0);
        }
    }
    let parts = map_parts(features.len(), |part| {
        let mut points = Vec::with_capacity(part.len());
        for block in blocks(part) {
            let x = centred(block);
            let x = rows_of(&x, d);
            let plane = x * &axes;
            leave_vectors();
            points.extend((0..plane.nrows()).map(|i| [plane[(i, 0)], plane[(i, 1)]]));
        }
        points
    });
    Ok(Plane { points: parts.concat(), explained })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_its_first_component() {
        // Along (3, 4), and a little across.
        let at = |t: f64, across: f64| [3.0 * t - 4.0 * across, 4.0 * t + 3.0 * across].map(|x| x as f32);
        let places: Vec<(f64, f64)> =
            (0..200).map(|i| (f64::from(i) - 99.5, if i % 2 == 0 { 0.1 } else { -0.1 })).collect();
        let features = Features::new(2, places.iter().flat_map(|(t, a)| at(*t, *a)).collect()).unwrap();
        let Plane { points, explained } = principal_plane(&features).unwrap();
        for (point, (t, across)) in points.iter().zip(&places) {
            assert!((point[0] - 5.0 * t).abs() < 1e-2, "{point:?} of {t}");
            assert!((point[1].abs() - 5.0 * across.abs()).abs() < 1e-2, "{point:?} of {across}");
        }
        assert!(explained[0] > 0.99 && (explained[0] + explained[1] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn rows_without_variance_are_one_point() {
        let plane = principal_plane(&Features::new(3, vec![1.0; 30]).unwrap()).unwrap();
        assert!(plane.points.iter().flatten().all(|x| x.abs() < 1e-6));
        assert_eq!(plane.explained, [0.0, 0.0]);
        assert_eq!(principal_plane(&Features::new(1, vec![1.0, 2.0]).unwrap()).unwrap().points[0][1], 0.0);
    }
}
