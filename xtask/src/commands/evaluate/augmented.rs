//! The paper's linear evaluation as it is written (C.1): in each epoch other crops and flips.

use anyhow::{Result, bail};
use byol_augment::{CropFit, CropPolicy, Op, ViewPolicy};
use byol_eval::{Features, LinearConfig, LinearSweep, extract_views};
use serde_json::json;

use super::Job;
use super::features::Extractor;
use super::protocol::Predicted;
use crate::terminal::Progress;

/// Trains classifiers on views of the training pictures and predicts the test rows once.
pub fn classify(
    job: &Job<'_>,
    name: &str,
    extractor: &Extractor<'_>,
    config: &LinearConfig,
    seed: u64,
    test: Option<&Features>,
) -> Result<Vec<Predicted>> {
    let Some(test) = test else { bail!("there are no test rows to score") };
    let (rows, pictures) = (&job.pictures.rows, job.pictures);
    let policy = crops_and_flips(job);
    let mut sweep =
        LinearSweep::new(config.clone(), test.dim(), &rows.train, &rows.held_out, rows.n_classes, seed)?;
    let progress = Progress::bar((config.epochs * rows.train.len()) as u64, &format!("{name}: views"));
    let n_train = pictures.train.len();
    for epoch in 0..config.epochs {
        for batch in sweep.batches(epoch) {
            let (train, validation): (Vec<usize>, Vec<usize>) = batch.iter().partition(|row| **row < n_train);
            let views = |set, of: &[usize]| {
                extract_views(
                    extractor.encoder,
                    set,
                    of,
                    &policy,
                    [seed, epoch as u64],
                    job.subject.config().in_channels,
                    job.device,
                )
            };
            let mut values = Vec::with_capacity(batch.len() * test.dim());
            if !train.is_empty() {
                values.extend_from_slice(views(&pictures.train, &train)?.values());
            }
            if let Some(set) = pictures.validation.as_ref().filter(|_| !validation.is_empty()) {
                let rows: Vec<usize> = validation.iter().map(|row| row - n_train).collect();
                values.extend_from_slice(views(set, &rows)?.values());
            }
            let order = [train, validation].concat();
            sweep.step(&order, &Features::new(test.dim(), values)?)?;
            progress.advance(batch.len() as u64);
        }
    }
    progress.finish();
    // Those that choose, as they are.
    let train = extractor.features(&pictures.train, &format!("{name}: training pictures"))?;
    let held_out = match &pictures.validation {
        Some(validation) => extractor.features(validation, &format!("{name}: validation pictures"))?,
        None => train.select(|row| rows.held_out[row])?,
    };
    let (probe, report) = sweep.choose(&held_out)?;
    let details = json!({ "rate": report.rate, "seed": seed, "choice": report });
    Ok(vec![Predicted { ranked: probe.predict(test)?, details }])
}

/// The paper's views for a linear classifier: a random resized crop and a flip.
fn crops_and_flips(job: &Job<'_>) -> ViewPolicy {
    let transform = &job.subject.transform;
    ViewPolicy {
        semantics: transform.semantics,
        size: transform.size,
        resample: transform.resample,
        crop: CropPolicy { area: [0.08, 1.0], aspect: [3.0 / 4.0, 4.0 / 3.0], fit: CropFit::Clamp },
        ops: vec![Op::HorizontalFlip { p: 0.5 }],
        normalize: transform.normalize.clone(),
    }
}
