//! From predictions to numbers that can be compared.

/// The first five classes (all, of fewer) in order of preference, for each test row.
pub type Ranked = Vec<Vec<usize>>;

/// Classes that are ranked.
const RANKS: usize = 5;

/// The first classes by falling score, the lower class first among equals.
pub(crate) fn ranked(scores: &[f64]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..scores.len()).collect();
    let better = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    if classes.len() > RANKS {
        classes.select_nth_unstable_by(RANKS - 1, better);
        classes.truncate(RANKS);
    }
    classes.sort_unstable_by(better);
    classes
}

/// Top-1 and top-5 of a classifier on a test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Share of test rows whose first class is right.
    pub top1: f64,
    /// 95 % Wilson interval of `top1`.
    pub interval: (f64, f64),
    /// Share of test rows with the right class among the first five.
    pub top5: f64,
    /// Mean over the classes that the test set has of the share of their rows that are right.
    pub mean_per_class: f64,
    /// 95 % interval of `mean_per_class`: normal, the classes' variances after Agresti and
    /// Coull (1998), so that a class without a mistake does not count as certain.
    pub mean_per_class_interval: (f64, f64),
    /// Which test rows are right, in order.
    pub correct: Vec<bool>,
}

impl Score {
    /// Compares predictions with the labels.
    pub fn new(ranked: &Ranked, labels: &[usize]) -> Self {
        let within = |n: usize| {
            ranked.iter().zip(labels).map(move |(classes, label)| classes.iter().take(n).any(|c| c == label))
        };
        let correct: Vec<bool> = within(1).collect();
        let n = correct.len();
        let hits = correct.iter().filter(|c| **c).count();
        let top5 = within(5).filter(|hit| *hit).count() as f64 / n.max(1) as f64;
        let mut of_class = vec![(0usize, 0usize); labels.iter().max().map_or(0, |most| most + 1)];
        for (&label, &right) in labels.iter().zip(&correct) {
            of_class[label].0 += usize::from(right);
            of_class[label].1 += 1;
        }
        let shares: Vec<f64> =
            of_class.iter().filter(|(_, n)| *n > 0).map(|(right, n)| *right as f64 / *n as f64).collect();
        let mean_per_class = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        let variance = |(right, n): &(usize, usize)| {
            let n = *n as f64 + Z * Z;
            let p = (*right as f64 + Z * Z / 2.0) / n;
            p * (1.0 - p) / n
        };
        let sum: f64 = of_class.iter().filter(|(_, n)| *n > 0).map(variance).sum();
        let half = Z * sum.sqrt() / shares.len().max(1) as f64;
        Self {
            top1: hits as f64 / n.max(1) as f64,
            interval: wilson(hits, n),
            top5,
            mean_per_class,
            mean_per_class_interval: ((mean_per_class - half).max(0.0), (mean_per_class + half).min(1.0)),
            correct,
        }
    }
}

/// How often rows of each class were taken for each class: classes × classes numbers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Confusion {
    /// `counts[label][predicted]`.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// Of predictions and labels, for `n_classes` classes or as many as there are.
    pub fn new(ranked: &Ranked, labels: &[usize], n_classes: usize) -> Self {
        let predicted = || ranked.iter().filter_map(|classes| classes.first().copied());
        let n = predicted().chain(labels.iter().copied()).map(|class| class + 1).max().unwrap_or(0);
        let n = n.max(n_classes);
        let mut counts = vec![vec![0; n]; n];
        for (class, &label) in predicted().zip(labels) {
            counts[label][class] += 1;
        }
        Self { counts }
    }

    /// Of each class, the share of its rows that are right; none of a class without rows.
    pub fn of_classes(&self) -> Vec<Option<f64>> {
        let of = |(class, row): (usize, &Vec<usize>)| {
            let n: usize = row.iter().sum();
            (n > 0).then(|| row[class] as f64 / n as f64)
        };
        self.counts.iter().enumerate().map(of).collect()
    }
}

/// The 0.975 quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval of a proportion of `hits` in `n` (Wilson 1927).
pub fn wilson(hits: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (n as f64, hits as f64 / n as f64);
    let z2 = Z * Z;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// McNemar's exact two-sided p that two classifiers are right equally often, given
/// which rows of the same test set each has right.
pub fn mcnemar(a: &[bool], b: &[bool]) -> f64 {
    let count = |wanted: (bool, bool)| a.iter().zip(b).filter(|(a, b)| (**a, **b) == wanted).count();
    mcnemar_counts(count((true, false)), count((false, true)))
}

/// The exact binomial test on the rows where they differ.
fn mcnemar_counts(only_a: usize, only_b: usize) -> f64 {
    let (n, fewer) = ((only_a + only_b) as f64, only_a.min(only_b));
    if n == 0.0 {
        return 1.0;
    }
    let ln_choose = |k: f64| libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    let tail: f64 = (0..=fewer).map(|k| (ln_choose(k as f64) - n * std::f64::consts::LN_2).exp()).sum();
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_tests_agree_with_scipy() {
        let text = include_str!("../../../tests/golden/eval/expected.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let intervals = golden["wilson"]["intervals"].as_array().unwrap();
        assert!(intervals.len() >= 3);
        for case in intervals {
            let count = |key: &str| case[key].as_u64().unwrap() as usize;
            let (low, high) = wilson(count("hits"), count("n"));
            assert!((low - case["low"].as_f64().unwrap()).abs() < 1e-12, "{case}");
            assert!((high - case["high"].as_f64().unwrap()).abs() < 1e-12, "{case}");
        }
        let tests = golden["mcnemar"].as_array().unwrap();
        assert!(tests.len() >= 5);
        for case in tests {
            let count = |key: &str| case[key].as_u64().unwrap() as usize;
            let (p, expected) = (mcnemar_counts(count("b"), count("c")), case["p"].as_f64().unwrap());
            assert!((p - expected).abs() <= 1e-9 * expected.max(1e-300), "{case}: {p}");
        }
    }

    #[test]
    fn classes_count_alike_however_many_rows_they_have() {
        let ranked = vec![vec![0], vec![0], vec![0], vec![1], vec![0]];
        let labels = [0, 0, 0, 1, 3];
        let score = Score::new(&ranked, &labels);
        assert_eq!(score.top1, 0.8);
        assert!((score.mean_per_class - 2.0 / 3.0).abs() < 1e-12, "class 2 has no rows");
        let (low, high) = score.mean_per_class_interval;
        assert!(low < 2.0 / 3.0 && 2.0 / 3.0 < high && low >= 0.0 && high <= 1.0);
        // Of many rows of one class alone it is Wilson's, but for terms of 1 / n.
        let many = Score::new(&(0..4000).map(|i| vec![usize::from(i % 5 == 0)]).collect(), &[0; 4000]);
        assert!((many.mean_per_class_interval.0 - many.interval.0).abs() < 1e-3, "{many:?}");
        let confusion = Confusion::new(&ranked, &labels, 5);
        assert_eq!(confusion.counts.len(), 5);
        assert_eq!((confusion.counts[0][0], confusion.counts[3][0]), (3, 1));
        assert_eq!(confusion.of_classes(), [Some(1.0), Some(1.0), None, Some(0.0), None]);
    }

    #[test]
    fn equal_scores_go_to_the_lower_class() {
        assert_eq!(ranked(&[0.0, 1.0, 1.0, 0.5, 0.5, 0.5, 2.0]), [6, 1, 2, 3, 4]);
        assert_eq!(ranked(&[1.0, 1.0]), [0, 1]);
    }

    #[test]
    fn top5_looks_at_five_classes() {
        let ranked = vec![vec![1, 2, 3, 4, 0, 5], vec![5, 1, 2, 3, 4, 0], vec![0, 1, 2, 3, 4, 5]];
        let score = Score::new(&ranked, &[0, 0, 0]);
        assert_eq!(score.correct, [false, false, true]);
        assert!((score.top5 - 2.0 / 3.0).abs() < 1e-12);
    }
}
