//! Weighted k-nearest neighbours by cosine similarity (Wu et al. 2018).

use nalgebra::DMatrix;

use crate::matrix::map_blocks;
use crate::{EvalError, Features, Ranked};

/// How neighbours vote.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnnConfig {
    /// Neighbours, at most as many as training rows.
    pub k: usize,
    /// T in the weight exp(similarity / T).
    pub temperature: f64,
    /// Classes; labels are below.
    pub n_classes: usize,
}

/// Classes of the rows of `test`, by votes of their neighbours in `train`. Equal
/// votes go to the lower class, equal similarities to the earlier row.
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
    if train.dim() != test.dim() {
        return Err(EvalError::Disagree(format!(
            "train has {} features a row, test {}",
            train.dim(),
            test.dim()
        )));
    }
    if let Some(label) = labels.iter().find(|l| **l >= config.n_classes) {
        return Err(EvalError::Disagree(format!("label {label} of {} classes", config.n_classes)));
    }
    if config.k == 0 || config.temperature.is_nan() || config.temperature <= 0.0 {
        return Err(EvalError::Disagree("k and the temperature must be positive".into()));
    }
    let k = config.k.min(train.len());
    let keys = DMatrix::from_row_iterator(train.len(), train.dim(), normalized(train, 0..train.len()));
    let blocks = map_blocks(test.len(), |range| {
        let n = range.len();
        let queries = DMatrix::from_iterator(test.dim(), n, normalized(test, range));
        let similarity = &keys * queries;
        (0..n)
            .map(|i| {
                let column = similarity.column(i);
                let mut order: Vec<usize> = (0..column.len()).collect();
                let nearer = |a: &usize, b: &usize| column[*b].total_cmp(&column[*a]).then(a.cmp(b));
                if k < order.len() {
                    order.select_nth_unstable_by(k, nearer);
                    order.truncate(k);
                }
                order.sort_unstable_by(nearer); // votes are summed in one order
                // Relative to the nearest, so that no small temperature overflows.
                let nearest = order.first().map_or(0.0, |&i| f64::from(column[i]));
                let mut votes = vec![0.0; config.n_classes];
                for i in order {
                    votes[labels[i]] += ((f64::from(column[i]) - nearest) / config.temperature).exp();
                }
                ranked(&votes)
            })
            .collect::<Vec<_>>()
    });
    Ok(blocks.into_iter().flatten().collect())
}

/// Rows of length 1, one after the other.
fn normalized(features: &Features, range: std::ops::Range<usize>) -> impl Iterator<Item = f32> {
    features.rows().skip(range.start).take(range.len()).flat_map(|row| {
        let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        row.iter().map(move |&x| (f64::from(x) / norm) as f32)
    })
}

/// Classes by falling score, the lower class first among equals.
pub(crate) fn ranked(scores: &[f64]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..scores.len()).collect();
    classes.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    classes
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn a_small_temperature_is_one_neighbour() {
        let train = Features::new(2, vec![1.0, 0.0, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1]).unwrap();
        let config = KnnConfig { k: 4, temperature: 1e-300, n_classes: 2 };
        let query = Features::new(2, vec![1.0, 0.0]).unwrap();
        assert_eq!(knn(&train, &[1, 0, 0, 0], &query, config).unwrap()[0][0], 1);
    }

    #[test]
    fn more_neighbours_than_rows_are_all_rows() {
        let train = Features::new(1, vec![1.0, -1.0]).unwrap();
        let config = KnnConfig { k: 20, temperature: 0.07, n_classes: 2 };
        assert_eq!(knn(&train, &[1, 0], &train, config).unwrap()[0][0], 1);
    }
}
