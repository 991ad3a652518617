//! Scores while a run goes on: labels are looked at, and never touch the encoder.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use byol_data::ImageDataset;
use byol_eval::{EvalError, Features, KnnConfig, Score, extract_some, knn};
use byol_model::Encoder;
use byol_train::{Observer, RunPlan, Seen, TrainError};

use crate::compose::Source;

/// Pictures that are looked at each time: three quarters are neighbours, the others ask.
const PICTURES: usize = 2000;
/// For each picture that is looked at, so many are trained on: a forward pass is an eighth of
/// a step's work on a picture, so that this is half a percent of it, and twice that where
/// decoding is all.
const TRAINED: u64 = 33;
/// The score at a run's last step, whatever its length, looks at no more than one picture for
/// so many that the run trains on.
const TRAINED_BEFORE_LAST: u64 = 32;
/// Fewer are no score.
const FEWEST: usize = 40;
const NEIGHBOURS: usize = 20;
const TEMPERATURE: f64 = 0.07;

/// Weighted nearest neighbours (as `knn`) of some training pictures, every so often.
/// Those that ask are of the validation split if there is one, else training pictures that
/// are not among the neighbours. Never of the test split.
pub struct OnlineKnn {
    set: Arc<ImageDataset>,
    asking: Arc<ImageDataset>,
    neighbours: (Vec<usize>, Vec<usize>),
    queries: (Vec<usize>, Vec<usize>),
    n_classes: usize,
    every: u64,
    device: Device,
}

impl OnlineKnn {
    /// For the pictures of a run; none where they have no labels, or are too few.
    pub fn new(
        set: &Arc<ImageDataset>,
        source: &Source,
        plan: &RunPlan,
        device: &Device,
    ) -> Result<Option<Self>> {
        let Some(labels) = set.labels()? else { return Ok(None) };
        let looked_at = pictures_at_most(plan);
        let some = spread(set.len(), looked_at);
        let split = source.split_names()?.into_iter().find(|name| is_validation(name));
        let validation = match split.filter(|name| name != set.split()) {
            Some(name) => {
                let validation = source.open(&name)?;
                let known = validation.labels()?.filter(|_| validation.classes() == set.classes());
                known.map(|labels| (validation, labels))
            }
            None => None,
        };
        let (asking, neighbours, queries, asked) = match validation {
            Some((validation, labels)) => {
                let queries = spread(validation.len(), looked_at / 4);
                let asked: Vec<usize> = queries.iter().map(|i| labels[*i]).collect();
                (Arc::new(validation), spread(set.len(), looked_at * 3 / 4), queries, asked)
            }
            None => {
                let is_query = |nth: &usize| nth % 4 == 3;
                let part = |wanted: bool| -> Vec<usize> {
                    some.iter()
                        .enumerate()
                        .filter(|(nth, _)| is_query(nth) == wanted)
                        .map(|(_, i)| *i)
                        .collect()
                };
                let queries = part(true);
                let asked = queries.iter().map(|i| labels[*i]).collect();
                (set.clone(), part(false), queries, asked)
            }
        };
        let known: Vec<usize> = neighbours.iter().map(|i| labels[*i]).collect();
        let n_classes = known.iter().chain(&asked).max().map_or(0, |largest| largest + 1);
        let pictures = neighbours.len() + queries.len();
        if pictures < FEWEST || n_classes < 2 {
            return Ok(None);
        }
        let every = (pictures as u64 * TRAINED).div_ceil(plan.spec.batch as u64).max(1);
        Ok(Some(Self {
            set: set.clone(),
            asking,
            neighbours: (neighbours, known),
            queries: (queries, asked),
            n_classes,
            every,
            device: device.clone(),
        }))
    }

    /// Pictures that ask.
    pub fn n_queries(&self) -> usize {
        self.queries.0.len()
    }

    fn score<E: Encoder>(&self, encoder: &E, plan: &RunPlan) -> Result<f64, EvalError> {
        let Ok(policy) = plan.policy() else { return Ok(f64::NAN) }; // it was resolved before
        let features = |set: &ImageDataset, pictures: &[usize]| -> Result<Features, EvalError> {
            extract_some(encoder, set, pictures, &policy.eval, plan.data.channels, &self.device, |_| {})
        };
        let neighbours = features(&self.set, &self.neighbours.0)?;
        let queries = features(&self.asking, &self.queries.0)?;
        let config = KnnConfig { k: NEIGHBOURS, temperature: TEMPERATURE, n_classes: self.n_classes };
        let ranked = knn(&neighbours, &self.neighbours.1, &queries, config)?;
        Ok(Score::new(&ranked, &self.queries.1).top1)
    }
}

/// So many that the score at the last step costs a short run no more than a long one. A run by
/// the clock has none at its last step.
fn pictures_at_most(plan: &RunPlan) -> usize {
    if plan.spec.minutes.is_some() {
        return PICTURES;
    }
    let trained = plan.total_steps.saturating_mul(plan.spec.batch as u64);
    usize::try_from(trained / TRAINED_BEFORE_LAST).unwrap_or(PICTURES).min(PICTURES)
}

fn is_validation(split: &str) -> bool {
    matches!(split, "validation" | "valid" | "val")
}

/// At most `n` of `len` numbers, evenly.
fn spread(len: usize, n: usize) -> Vec<usize> {
    let n = n.min(len);
    (0..n).map(|i| i * len / n).collect()
}

impl<E: Encoder> Observer<E> for OnlineKnn {
    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        // By steps, not by the clock, so that a run that goes on has the same scores; at the end
        // of a run by the clock there is no time left.
        let last = seen.plan.spec.minutes.is_none() && seen.report.step == seen.plan.total_steps;
        if last || seen.report.step.is_multiple_of(self.every) {
            // Pictures that cannot be read have ended the run before, in the loader.
            if let Ok(top1) = self.score(&seen.state.byol.online.encoder, seen.plan) {
                seen.report.extra.insert("knn_top1".into(), top1);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_looks_at_few_pictures() {
        let plan = |set: &[&str]| {
            let mut builder = byol_train::SpecBuilder::preset("quick").unwrap();
            for set in set {
                builder = builder.set(set).unwrap();
            }
            let data = byol_train::DataFacts { samples: 60_000, channels: 1, ..Default::default() };
            RunPlan::of(builder.build().unwrap(), data).unwrap()
        };
        assert_eq!(pictures_at_most(&plan(&[])), PICTURES);
        assert_eq!(pictures_at_most(&plan(&["minutes=3"])), PICTURES);
        assert_eq!(pictures_at_most(&plan(&["length.steps=60", "batch=16", "warmup.steps=5"])), 30);
    }

    #[test]
    fn pictures_are_spread_over_the_set() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 9), [0, 1, 2]);
    }
}
