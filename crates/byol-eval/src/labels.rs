//! Which pictures may show their labels.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::EvalError;

/// Rows of a class-balanced share of a labelled set, in rising order: of each class as many as
/// `share` of all rows divided by the classes, at least one, and all of a class that has fewer.
/// The same rows for the same labels and seed, on any machine.
///
/// # Errors
///
/// If `share` is not above 0 and at most 1, or a label is not below `n_classes`.
pub fn balanced_share(
    labels: &[usize],
    n_classes: usize,
    share: f64,
    seed: u64,
) -> Result<Vec<usize>, EvalError> {
    if !(share > 0.0 && share <= 1.0) {
        return Err(EvalError::Disagree(format!("a share of {share} of the labels, expected above 0 to 1")));
    }
    let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); n_classes];
    for (row, &label) in labels.iter().enumerate() {
        let class = of_class.get_mut(label);
        class.ok_or_else(|| EvalError::Disagree(format!("label {label} of {n_classes} classes")))?.push(row);
    }
    if share == 1.0 {
        return Ok((0..labels.len()).collect());
    }
    let there = of_class.iter().filter(|rows| !rows.is_empty()).count().max(1);
    let wanted = ((share * labels.len() as f64 / there as f64).round() as usize).max(1);
    let mut chosen = Vec::new();
    for (class, mut rows) in of_class.into_iter().enumerate() {
        // A stream for each class: what is drawn of one depends on no other.
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(class as u64);
        let n = wanted.min(rows.len());
        for i in 0..n {
            let rest = (rows.len() - i) as u64;
            rows.swap(i, i + below(&mut rng, rest) as usize);
        }
        chosen.extend_from_slice(&rows[..n]);
    }
    chosen.sort_unstable();
    Ok(chosen)
}

/// Every `nth` row of each class, so that classes have their shares in both parts whatever the
/// order of the rows: of rows by class, and in a class as they come, the last of each `nth`.
pub fn every_nth_of_classes(labels: &[usize], nth: usize) -> Vec<bool> {
    let last = nth.max(1) - 1;
    folds_of_classes(labels, nth).into_iter().map(|fold| fold == last).collect()
}

/// Which of `n` folds each row is in, 0 to n − 1: of rows by class, and in a class as they come,
/// one after the other in turn, so that each fold has its share of each class.
pub fn folds_of_classes(labels: &[usize], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|row| labels[*row]); // stable
    let mut folds = vec![0; labels.len()];
    order.iter().enumerate().for_each(|(nth, row)| folds[*row] = nth % n.max(1));
    folds
}

/// The numbers below `n` in a random order: the same for the same seed and stream.
pub(crate) fn shuffled(n: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, below(&mut rng, i as u64 + 1) as usize);
    }
    order
}

/// Every `nth` row, the last of each `nth`: rows that choose while the others teach.
pub fn every_nth(n_rows: usize, nth: usize) -> Vec<bool> {
    (0..n_rows).map(|row| row % nth.max(1) == nth.max(1) - 1).collect()
}

/// A number below `n`, each as likely (Lemire 2019).
fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        if product as u64 >= n.wrapping_neg() % n {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_share() {
        let labels: Vec<usize> = (0..1000).map(|i| if i % 100 == 0 { 2 } else { i % 2 }).collect();
        let chosen = balanced_share(&labels, 4, 0.1, 0).unwrap();
        let of = |class: usize| chosen.iter().filter(|&&row| labels[row] == class).count();
        assert_eq!([of(0), of(1), of(2)], [33, 33, 10], "a tenth of 1000 by three, and all of the third");
        assert!(chosen.is_sorted());
        assert_eq!(chosen, balanced_share(&labels, 4, 0.1, 0).unwrap());
        assert_ne!(chosen, balanced_share(&labels, 4, 0.1, 1).unwrap());
        assert_eq!(balanced_share(&labels, 4, 1.0, 0).unwrap().len(), 1000);
        assert_eq!(balanced_share(&labels, 4, 1e-9, 0).unwrap().len(), 3, "at least one of each");
    }

    #[test]
    fn the_order_of_rows_leaves_no_class_out() {
        let labels: Vec<usize> = (0..100).map(|i| i % 10).collect();
        let chosen = every_nth_of_classes(&labels, 10);
        let of = |class: usize| (0..100).filter(|row| chosen[*row] && labels[*row] == class).count();
        assert!((0..10).all(|class| of(class) == 1));
        assert_eq!(every_nth_of_classes(&[0, 1, 0], 2), [false, false, true]);
        assert_eq!(every_nth(4, 2), [false, true, false, true]);
        let folds = folds_of_classes(&labels, 5);
        let of =
            |fold: usize, class: usize| (0..100).filter(|r| folds[*r] == fold && labels[*r] == class).count();
        assert!((0..5).all(|fold| (0..10).all(|class| of(fold, class) == 2)));
    }

    #[test]
    fn what_cannot_be_is_said() {
        for share in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(balanced_share(&[0, 1], 2, share, 0).is_err());
        }
        assert!(balanced_share(&[0, 2], 2, 0.5, 0).is_err());
    }
}
