//! `linear-eval`, `knn`, `finetune` and `transfer`: the encoder of a run, the same encoder at random initialisation, and
//! raw pixels, by the same protocol; or anybody's embeddings.

mod augmented;
mod embedded;
pub mod features;
mod finetune;
mod protocol;
mod result;
pub mod rows;
mod shares;
mod transfer;

use std::time::Instant;

use anyhow::Result;
use byol_data::ImageDataset;
use byol_eval::{Features, LinearConfig, pixels};
use byol_model::ResNet;
use serde_json::json;

use crate::cli::{EvalArgs, KnnArgs, LinearArgs, LinearProtocol};
use crate::compose::set_threads;
use crate::device::pick_for_encoder;
use crate::exit::Usage;
use crate::subject::Subject;
use crate::terminal::{Progress, tell};
use features::Extractor;
use protocol::{Predicted, Protocol};
use result::{Outcome, Scored};
use rows::Pictures;

pub use finetune::finetune;
pub use transfer::transfer;

/// Values in a picture above which raw pixels are left out.
const MAX_PIXELS: usize = 4096;

/// A linear classifier on frozen representations.
pub fn linear_eval(args: &LinearArgs) -> Result<()> {
    let protocol = match args.protocol {
        LinearProtocol::Lbfgs => {
            let given = [
                ("--epochs", args.epochs.is_some()),
                ("--batch", args.batch.is_some()),
                ("--no-augment", args.no_augment),
            ];
            if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(Usage(format!("{flag} goes with --protocol paper")).into());
            }
            Protocol::Optimum
        }
        LinearProtocol::Paper => {
            let paper = LinearConfig::paper();
            let config = LinearConfig {
                epochs: args.epochs.unwrap_or(paper.epochs),
                batch: args.batch.unwrap_or(paper.batch),
                ..paper
            };
            let augment = !args.no_augment && args.eval.embeddings.is_none();
            Protocol::Paper { config, augment, seed: args.seed }
        }
    };
    evaluate(&args.eval, &protocol)
}

/// The nearest-neighbour protocol.
pub fn knn(args: &KnnArgs) -> Result<()> {
    let temperature = args.temperature;
    if temperature.is_nan() || temperature <= 0.0 {
        return Err(Usage(format!("--temperature {temperature}: expected a positive number")).into());
    }
    let ks = args.k.iter().map(|k| *k as usize).collect();
    evaluate(&args.eval, &Protocol::Knn { ks, temperature })
}

fn evaluate(args: &EvalArgs, protocol: &Protocol) -> Result<()> {
    set_threads(args.how.threads)?;
    match &args.embeddings {
        Some(file) => embedded::evaluate(args, file, protocol),
        None => of_encoder(args, protocol),
    }
}

fn of_encoder(args: &EvalArgs, protocol: &Protocol) -> Result<()> {
    let started = Instant::now();
    let place = pick_for_encoder(args.how.device, args.how.json)?;
    let subject = Subject::open(&args.encoder)?;
    let source = subject.source(args.data.as_deref())?;
    let pictures = Pictures::open(&source, matches!(protocol, Protocol::Knn { .. }))?;
    pictures.check_channels(&subject)?;
    if args.data.is_none() {
        subject.tell_changes(&pictures.train, &source);
    }
    let n_test = pictures.rows.test.as_ref().map_or(pictures.train.len(), Vec::len);
    if !args.how.json {
        let test = match &pictures.test {
            Some(test) => format!(" and {} {}", test.len(), pictures.scored_name()),
            None => " pictures, each scored by the others,".to_owned(),
        };
        tell(&format!(
            "{}; {} training{test} of {}",
            subject.name,
            pictures.rows.train.len(),
            source.describe()
        ));
    }
    let duplicates = pictures.tell_duplicates()?;
    let subject = subject.on(place)?;
    let job = Job { pictures: &pictures, subject: &subject, protocol, cached: !args.how.no_cache };
    let encoder = job.of_encoder("encoder", &subject.encoder)?;
    let untrained = subject.untrained()?;
    let random = job.of_encoder("same encoder, random init", &untrained)?;
    let raw = job.of_pixels()?;
    let outcome = Outcome {
        subject: subject.name.clone(),
        protocol: protocol.describe(&pictures.rows),
        n_train: pictures.rows.train.len(),
        n_test,
        encoder,
        baselines: [Some(("random_init", random)), raw.map(|raw| ("pixels", raw))]
            .into_iter()
            .flatten()
            .collect(),
        left_out: job.pixels_left_out(),
        more: json!({
            "duplicates": duplicates,
            "split": pictures.test.as_ref().map(ImageDataset::split),
            "data": source.describe(),
            "data_fingerprint": pictures.train.fingerprint(),
            "device": subject.place.name(),
            "seconds": started.elapsed().as_secs_f64(),
        }),
    };
    let name = format!("{}{}", protocol.name(), subject.other_pictures(&source, &pictures.train));
    outcome.tell_and_record(args.how.json, &pictures.rows, subject.run.as_deref(), &name)
}

/// What is scored, and how.
struct Job<'a> {
    pictures: &'a Pictures,
    subject: &'a Subject,
    protocol: &'a Protocol,
    cached: bool,
}

impl Job<'_> {
    fn of_encoder(&self, name: &str, encoder: &ResNet) -> Result<Vec<Scored>> {
        let extractor = Extractor::new(encoder, self.subject, self.cached);
        let features = |set, split: &str| extractor.features(set, &format!("{name}: {split} pictures"));
        let test = self.pictures.test.as_ref().map(|test| features(test, "test")).transpose()?;
        let predicted = match self.protocol {
            Protocol::Paper { config, augment: true, seed } => {
                augmented::classify(self, name, &extractor, config, *seed, test.as_ref())?
            }
            _ => {
                let mut train = features(&self.pictures.train, "training")?;
                if let Some(validation) = &self.pictures.validation {
                    train = joined(&train, &features(validation, "validation")?)?;
                }
                self.classify(name, &train, test.as_ref())?
            }
        };
        Ok(self.scored(predicted))
    }

    /// None where pictures have too many pixels.
    fn of_pixels(&self) -> Result<Option<Vec<Scored>>> {
        if self.pixels_left_out().is_some() {
            return Ok(None);
        }
        let (transform, channels) = (&self.subject.transform, self.subject.config().in_channels);
        let of = |set| pixels(set, transform, channels);
        let mut train = of(&self.pictures.train)?;
        if let Some(validation) = &self.pictures.validation {
            train = joined(&train, &of(validation)?)?;
        }
        let test = self.pictures.test.as_ref().map(of).transpose()?;
        Ok(Some(self.scored(self.classify("raw pixels", &train, test.as_ref())?)))
    }

    fn pixels_left_out(&self) -> Option<String> {
        let size = self.subject.transform.size;
        if self.subject.config().in_channels * size * size > MAX_PIXELS {
            return Some(format!("more than {MAX_PIXELS} values a picture"));
        }
        matches!(self.protocol, Protocol::Paper { augment: true, .. })
            .then(|| "this protocol is on views; see --no-augment".into())
    }

    fn classify(&self, name: &str, train: &Features, test: Option<&Features>) -> Result<Vec<Predicted>> {
        let spinner = Progress::spinner(&format!("{name}: classifying"));
        let predicted = self.protocol.classify(train, test, &self.pictures.rows)?;
        spinner.finish();
        Ok(predicted)
    }

    fn scored(&self, predicted: Vec<Predicted>) -> Vec<Scored> {
        let rows = &self.pictures.rows;
        predicted.into_iter().map(|predicted| Scored::new(predicted, rows)).collect()
    }
}

fn joined(a: &Features, b: &Features) -> Result<Features> {
    Ok(Features::new(a.dim(), [a.values(), b.values()].concat())?)
}
