//! The paper's linear evaluation as it is written (C.1): in each epoch other crops and flips.

use anyhow::{Result, bail};
use byol_augment::{CropFit, CropPolicy, EvalTransform, Op, ViewPolicy};
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
    let policy = crops_and_flips(&job.subject.transform);
    let mut sweep =
        LinearSweep::new(config.clone(), test.dim(), &rows.train, &rows.held_out, rows.n_classes, seed)?;
    let progress = Progress::bar((config.epochs * rows.train.len()) as u64, &format!("{name}: views"));
    let sets = pictures.teaching();
    for epoch in 0..config.epochs {
        for batch in sweep.batches(epoch) {
            let (place, channels) = (&job.subject.place, job.subject.config().in_channels);
            let (encoder, key) = (extractor.encoder, [seed, epoch as u64]);
            let make = || extract_views(encoder, &sets, &batch, &policy, key, channels, &place.device);
            let views = place.guarded(make)??;
            sweep.step(&batch, &views)?;
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

/// The paper's views for learning with labels: a random resized crop and a flip.
pub fn crops_and_flips(transform: &EvalTransform) -> ViewPolicy {
    ViewPolicy {
        semantics: transform.semantics,
        size: transform.size,
        resample: transform.resample,
        crop: CropPolicy { area: [0.08, 1.0], aspect: [3.0 / 4.0, 4.0 / 3.0], fit: CropFit::Clamp },
        ops: vec![Op::HorizontalFlip { p: 0.5 }],
        normalize: transform.normalize.clone(),
    }
}
