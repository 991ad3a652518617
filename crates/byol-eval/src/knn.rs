//! Nearest neighbours by cosine similarity, and their weighted vote (Wu et al. 2018).

use faer::Accum;

use crate::product::{map_blocks, map_rows, multiply, rows_of};
use crate::score::ranked;
use crate::{EvalError, Features, Ranked};

/// How neighbours vote.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnnConfig {
    /// Neighbours, at most as many as there are.
    pub k: usize,
    /// T in the weight exp(similarity / T).
    pub temperature: f64,
    /// Classes; labels are below.
    pub n_classes: usize,
}

/// Rows that are most similar to another, the nearest first, each with its cosine similarity.
/// Equals are in the order of their rows.
pub type Neighbors = Vec<(usize, f64)>;

/// Classes of the rows of `test`, by votes of their neighbours in `train`. Equal votes go to
/// the lower class, equal similarities to the earlier row.
///
/// # Errors
///
/// If rows and labels do not belong together.
pub fn knn(
    train: &Features,
    labels: &[usize],
    test: &Features,
    config: KnnConfig,
) -> Result<Ranked, EvalError> {
    train.check_labels(labels, "train")?;
    vote(&nearest(train, test, config.k)?, labels, config)
}

/// Classes by the votes of the first `config.k` of `neighbors` whose classes are `labels`.
/// From neighbours that were found once, the votes of several k and temperatures follow.
///
/// # Errors
///
/// If a neighbour has no label, a label is no class, or k or the temperature is not positive.
pub fn vote(neighbors: &[Neighbors], labels: &[usize], config: KnnConfig) -> Result<Ranked, EvalError> {
    if let Some(label) = labels.iter().find(|l| **l >= config.n_classes) {
        return Err(EvalError::Disagree(format!("label {label} of {} classes", config.n_classes)));
    }
    if config.k == 0 || config.temperature.is_nan() || config.temperature <= 0.0 {
        return Err(EvalError::Disagree("k and the temperature must be positive".into()));
    }
    let mut votes = vec![0.0; config.n_classes];
    let mut of_one = |neighbors: &Neighbors| {
        votes.fill(0.0);
        // Relative to the nearest, so that no small temperature overflows.
        let nearest = neighbors.first().map_or(0.0, |(_, similarity)| *similarity);
        for &(row, similarity) in neighbors.iter().take(config.k) {
            let label = labels.get(row).ok_or_else(|| {
                EvalError::Disagree(format!(
                    "a neighbour is row {row}, and there are {} labels",
                    labels.len()
                ))
            })?;
            votes[*label] += ((similarity - nearest) / config.temperature).exp();
        }
        // A class without a vote is none that was named.
        Ok(ranked(&votes).into_iter().filter(|class| votes[*class] > 0.0).collect())
    };
    neighbors.iter().map(&mut of_one).collect()
}

/// The `k` rows of `train` that are most similar to each row of `queries`.
///
/// Candidates are found by products in f32, and ordered by similarities in f64.
///
/// # Errors
///
/// If both have rows of different lengths.
pub fn nearest(train: &Features, queries: &Features, k: usize) -> Result<Vec<Neighbors>, EvalError> {
    train.check_dim(queries)?;
    Ok(search(train, queries, k, false))
}

/// The `k` other rows that are most similar to each row (leave one out).
pub fn nearest_others(features: &Features, k: usize) -> Vec<Neighbors> {
    search(features, features, k, true)
}

/// Queries, and training rows, that are compared at once: wide enough that a product is at the
/// processor's limit, small enough that the similarities stay in the cache.
const QUERIES: usize = 384;
const KEYS: usize = 768;

fn search(train: &Features, queries: &Features, k: usize, others: bool) -> Vec<Neighbors> {
    let (d, n) = (train.dim(), train.len());
    let (keys, key_norms) = unit_rows(train);
    let (asking, asking_norms) = unit_rows(queries);
    let k = k.min(n - usize::from(others));
    // Twice what two sums of d products can be off (Higham 2002, 3.5), and their rounded rows.
    let slack = 2.0 * (d as f32 + 4.0) * f32::EPSILON;
    // Few queries are shared out evenly; what is found does not depend on it.
    let rows = queries.len().div_ceil(2 * rayon::current_num_threads()).clamp(32, QUERIES);
    let blocks = map_rows(queries.len(), rows, |range| {
        let mut candidates: Vec<Candidates> = range.clone().map(|_| Candidates::new(k, slack)).collect();
        let asking = rows_of(&asking[range.start * d..range.end * d], d);
        let mut similar = vec![0.0f32; range.len() * KEYS];
        for first in (0..n).step_by(KEYS) {
            let some = KEYS.min(n - first);
            let similar = &mut similar[..range.len() * some];
            let keys = rows_of(&keys[first * d..(first + some) * d], d);
            multiply(similar, Accum::Replace, asking, keys.transpose());
            for ((row, candidates), query) in
                similar.chunks_exact(some).zip(&mut candidates).zip(range.clone())
            {
                let own = (others && (first..first + some).contains(&query)).then(|| query - first);
                candidates.add(row, first, own);
            }
        }
        let exactly = |(candidates, query): (Candidates, usize)| {
            let asked = queries.row(query);
            // 0 is added so that there is one zero, and equals are equal.
            let cosine =
                |row: usize| (row, dot(train.row(row), asked) / (key_norms[row] * asking_norms[query]) + 0.0);
            let mut found: Neighbors = candidates.rows().map(cosine).collect();
            found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            found.truncate(k);
            found
        };
        candidates.into_iter().zip(range).map(exactly).collect::<Vec<_>>()
    });
    blocks.into_iter().flatten().collect()
}

/// Rows of length 1, one after the other, and the lengths that they had.
fn unit_rows(features: &Features) -> (Vec<f32>, Vec<f64>) {
    let d = features.dim();
    let blocks = map_blocks(features.len(), |range| {
        let mut unit = Vec::with_capacity(range.len() * d);
        let mut norms = Vec::with_capacity(range.len());
        for row in range.map(|row| features.row(row)) {
            // The cosine of a row of zeros is 0.
            let norm = Some(dot(row, row).sqrt()).filter(|norm| *norm > 0.0).unwrap_or(1.0);
            unit.extend(row.iter().map(|x| (f64::from(*x) / norm) as f32));
            norms.push(norm);
        }
        (unit, norms)
    });
    let (unit, norms): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
    (unit.concat(), norms.concat())
}

/// The sum of products in f64. Several sums side by side keep the processor busy; what is left
/// over is added in order.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f64; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(*a) * f64::from(*b));
    sums.into_iter().chain(rest).sum()
}

/// The most similar rows so far, and those that may yet be.
struct Candidates {
    k: usize,
    slack: f32,
    /// Similarities below cannot be among the first k.
    least: f32,
    found: Vec<(f32, usize)>,
    /// So many are gathered before all but the best are dropped.
    room: usize,
}

impl Candidates {
    fn new(k: usize, slack: f32) -> Self {
        Self { k, slack, least: f32::NEG_INFINITY, found: Vec::new(), room: 4 * k + 64 }
    }

    /// Similarities of the rows from `first` on, but for the one at `own`.
    fn add(&mut self, similar: &[f32], first: usize, own: Option<usize>) {
        const LANES: usize = 16;
        for (nth, some) in similar.chunks(LANES).enumerate() {
            // Most have none, which is quickly seen.
            if some.iter().fold(f32::NEG_INFINITY, |most, x| most.max(*x)) < self.least {
                continue;
            }
            for (i, &x) in some.iter().enumerate() {
                let row = nth * LANES + i;
                if x >= self.least && own != Some(row) {
                    self.found.push((x, first + row));
                }
            }
            if self.found.len() >= self.room {
                self.drop_all_but_best();
            }
        }
    }

    fn drop_all_but_best(&mut self) {
        if self.k == 0 || self.found.len() <= self.k {
            return;
        }
        let (_, kth, _) = self.found.select_nth_unstable_by(self.k - 1, |a, b| b.0.total_cmp(&a.0));
        self.least = kth.0 - self.slack;
        let least = self.least;
        self.found.retain(|(x, _)| *x >= least);
        // Many equals: gather as many again before the next look.
        self.room = self.room.max(2 * self.found.len());
    }

    fn rows(mut self) -> impl Iterator<Item = usize> {
        self.drop_all_but_best();
        self.found.into_iter().map(|(_, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn votes_agree_with_numpy() {
        let text = include_str!("../../../tests/golden/eval/expected.json");
        let golden: Value = serde_json::from_str(text).unwrap();
        let golden = &golden["knn"];
        let matrix = |key: &str| {
            let rows = golden[key].as_array().unwrap();
            let values = rows.iter().flat_map(|r| r.as_array().unwrap());
            Features::new(
                rows[0].as_array().unwrap().len(),
                values.map(|x| x.as_f64().unwrap() as f32).collect(),
            )
            .unwrap()
        };
        let integers = |value: &Value| -> Vec<usize> {
            value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
        };
        let results = golden["results"].as_array().unwrap();
        assert_eq!(results.len(), 4);
        for case in results {
            let config = KnnConfig {
                k: case["k"].as_u64().unwrap() as usize,
                temperature: golden["temperature"].as_f64().unwrap(),
                n_classes: golden["classes"].as_u64().unwrap() as usize,
            };
            let ranked =
                knn(&matrix("train"), &integers(&golden["labels"]), &matrix("queries"), config).unwrap();
            let first: Vec<usize> = ranked.iter().map(|classes| classes[0]).collect();
            assert_eq!(first, integers(&case["predicted"]), "k = {}", config.k);
        }
    }

    /// Every similarity in f64, sorted.
    fn by_brute_force(train: &Features, queries: &Features, k: usize, others: bool) -> Vec<Neighbors> {
        let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let norm = |row: &[f32]| if norm(row) > 0.0 { norm(row) } else { 1.0 };
        let of_query = |(nth, asked): (usize, &[f32])| {
            let cosine = |(row, key): (usize, &[f32])| {
                let dot: f64 = key.iter().zip(asked).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                (row, dot / (norm(key) * norm(asked)) + 0.0)
            };
            let mut all: Neighbors = train.rows().enumerate().map(cosine).collect();
            all.retain(|(row, _)| !(others && *row == nth));
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(k);
            all
        };
        queries.rows().enumerate().map(of_query).collect()
    }

    fn rows(dim: usize, n: std::ops::Range<usize>) -> impl Strategy<Value = Features> {
        // Few values, so that many rows are equal, and many similarities.
        let value = prop_oneof![Just(0.0f32), Just(1.0), Just(-0.5), -1.0..1.0f32];
        proptest::collection::vec(proptest::collection::vec(value, dim), n)
            .prop_map(move |rows| Features::new(dim, rows.concat()).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn neighbours_are_those_of_brute_force(
            train in rows(3, 1..300),
            queries in rows(3, 1..150),
            k in 1..40usize,
        ) {
            prop_assert_eq!(nearest(&train, &queries, k).unwrap(), by_brute_force(&train, &queries, k, false));
            prop_assert_eq!(nearest_others(&train, k), by_brute_force(&train, &train, k, true));
        }
    }

    #[test]
    fn many_long_rows_are_searched_in_parts() {
        const D: usize = 37;
        let value = |i: usize| ((i * 2_654_435_761 % 1_000_003) as f32 / 500_000.0) - 1.0;
        let features =
            |n: usize, from: usize| Features::new(D, (from..from + D * n).map(value).collect()).unwrap();
        let (train, queries) = (features(2 * KEYS + 5, 0), features(QUERIES + 30, 999));
        let found = nearest(&train, &queries, 20).unwrap();
        let expected = by_brute_force(&train, &queries, 20, false);
        for ((row, similarity), (expected_row, expected)) in
            found.iter().flatten().zip(expected.iter().flatten())
        {
            assert_eq!(row, expected_row);
            // Another order of the sum.
            assert!((similarity - expected).abs() < 1e-14, "{similarity} and {expected}");
        }
        assert_eq!((found.len(), found.concat().len()), (QUERIES + 30, 20 * (QUERIES + 30)));
    }

    #[test]
    fn a_small_temperature_is_one_neighbour() {
        let train = Features::new(2, vec![1.0, 0.0, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1]).unwrap();
        let config = KnnConfig { k: 4, temperature: 1e-300, n_classes: 2 };
        let query = Features::new(2, vec![1.0, 0.0]).unwrap();
        assert_eq!(knn(&train, &[1, 0, 0, 0], &query, config).unwrap()[0][0], 1);
    }

    #[test]
    fn scale_does_not_matter_and_classes_without_a_vote_are_not_named() {
        let train = |scale: f32| Features::new(2, vec![scale, 0.0, 0.0, scale, scale, scale / 8.0]).unwrap();
        let of = |scale: f32| nearest(&train(scale), &train(scale), 2).unwrap();
        let rows = |found: &[Neighbors]| found.iter().flatten().map(|(row, _)| *row).collect::<Vec<_>>();
        assert_eq!(rows(&of(1.0)), rows(&of(1e-30)));
        assert_eq!(rows(&of(1.0)), rows(&of(1e30)));
        let config = KnnConfig { k: 2, temperature: 0.07, n_classes: 9 };
        assert_eq!(vote(&of(1.0)[..1], &[7, 3, 7], config).unwrap(), [vec![7]]);
    }

    #[test]
    fn more_neighbours_than_rows_are_all_rows() {
        let train = Features::new(1, vec![1.0, -1.0]).unwrap();
        let config = KnnConfig { k: 20, temperature: 0.07, n_classes: 2 };
        assert_eq!(knn(&train, &[1, 0], &train, config).unwrap()[0][0], 1);
        let alone = Features::new(1, vec![1.0]).unwrap();
        assert_eq!(nearest_others(&alone, 3), [vec![]]);
    }
}
