//! `finetune`: all of a network learns from few labels, beside the same network from scratch and
//! a linear probe of the frozen encoder (Grill et al. 2020, C.1).

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use byol_data::ImageDataset;
use byol_eval::{
    Features, FinetuneConfig, Labelled, every_nth_of_classes, logistic_probe, mcnemar, penalties,
};
use byol_model::ResNet;
use serde_json::{Value, json};

use super::augmented::crops_and_flips;
use super::features::Extractor;
use super::protocol::Predicted;
use super::result::{self, Scored};
use super::rows::Pictures;
use super::shares::Share;
use crate::cli::FinetuneArgs;
use crate::compose::set_threads;
use crate::device::pick_for_encoder;
use crate::exit::Usage;
use crate::subject::Subject;
use crate::terminal::{Progress, counted, say, tell};

/// One in so many labelled pictures chooses the penalty of the linear probe.
const HELD_OUT: usize = 5;

/// What the same labels made of three beginnings.
struct Compared {
    share: Share,
    tuned: Scored,
    scratch: Option<Scored>,
    linear: Option<Scored>,
}

/// Fine-tunes on each share, and says how good that is.
pub fn finetune(args: &FinetuneArgs) -> Result<()> {
    if let Some(rate) = args.rates.iter().find(|rate| !(**rate > 0.0 && rate.is_finite())) {
        return Err(Usage(format!("--rates {rate}: expected positive numbers")).into());
    }
    set_threads(args.how.threads)?;
    let started = Instant::now();
    let place = pick_for_encoder(args.how.device, args.how.json)?;
    let subject = Subject::open(&args.encoder)?;
    let source = subject.source(args.data.as_deref())?;
    let pictures = Pictures::open(&source, false)?;
    pictures.check_channels(&subject)?;
    if args.data.is_none() {
        subject.tell_changes(&pictures.train, &source);
    }
    let folder = args.labels_to.clone().or_else(|| subject.run.as_ref().map(|run| run.join("labels")));
    let of = subject.other_pictures(&source, &pictures.train);
    // Each once, however often it was named.
    let named = args.labels.iter().enumerate().filter(|(nth, shown)| !args.labels[..*nth].contains(shown));
    let shares: Vec<Share> = named
        .map(|(_, shown)| shown)
        .map(|shown| Share::new(shown, &pictures, args.seed, folder.as_deref(), &of))
        .collect::<Result<_>>()?;
    let n_test = pictures.rows.test.as_ref().map_or(0, Vec::len);
    if !args.how.json {
        let counts: Vec<String> = shares.iter().map(|share| counted(share.rows.len(), "label")).collect();
        tell(&format!(
            "{}; {}, and {n_test} {}, of {}",
            subject.name,
            counts.join(" and "),
            pictures.scored_name(),
            source.describe()
        ));
    }
    let duplicates = pictures.tell_duplicates()?;
    let config = FinetuneConfig {
        rates: args.rates.clone(),
        epochs: args.epochs.clone(),
        batch: args.batch,
        ..FinetuneConfig::paper()
    };
    let subject = subject.on(place)?;
    let extractor = Extractor::new(&subject.encoder, &subject, !args.how.no_cache);
    let job = Job {
        pictures: &pictures,
        subject: &subject,
        config: &config,
        seed: args.seed,
        frozen: frozen(&extractor, &pictures)?,
    };
    let untrained = if args.no_scratch { None } else { Some(subject.untrained()?) };
    let compared: Vec<Compared> =
        shares.into_iter().map(|share| job.compare(share, untrained.as_ref())).collect::<Result<_>>()?;
    let protocol = describe(&config);
    let mut value = compared[0].json(); // there is one: --labels is never empty
    value["results"] = compared.iter().map(Compared::json).collect();
    value["n_test"] = n_test.into();
    value["split"] = json!(pictures.test.as_ref().map(ImageDataset::split));
    value["protocol"] = json!(protocol);
    value["encoder"] = json!(subject.name);
    value["seed"] = args.seed.into();
    value["duplicates"] = duplicates.into();
    value["data"] = json!(source.describe());
    value["data_fingerprint"] = json!(pictures.train.fingerprint());
    value["device"] = json!(subject.place.name());
    value["seconds"] = started.elapsed().as_secs_f64().into();
    if let Some(run) = &subject.run {
        value["run"] = json!(run);
        value["command"] = json!(result::command(run));
    }
    if args.how.json {
        say(&value.to_string());
    } else {
        say(&protocol);
        result::head("vs fine-tuned");
        compared.iter().for_each(Compared::say);
    }
    match &subject.run {
        Some(run) => result::record(run, &format!("finetune{of}"), &value),
        None => Ok(()),
    }
}

fn describe(config: &FinetuneConfig) -> String {
    let all = |of: Vec<String>| of.join(", ");
    let rates = all(config.rates.iter().map(ToString::to_string).collect());
    let epochs = all(config.epochs.iter().map(ToString::to_string).collect());
    let choice = if config.rates.len() * config.epochs.len() > 1 {
        format!(
            "rate (of {rates}) and epochs (of {epochs}) chosen on fifths of the labelled pictures themselves, then \
             trained on all of them"
        )
    } else {
        format!("rate {rates}, {epochs} epochs")
    };
    format!(
        "all of the network and a linear classifier learn by SGD, Nesterov momentum {}, from crops and flips of the \
         labelled pictures; {choice}",
        config.momentum
    )
}

struct Job<'a> {
    pictures: &'a Pictures,
    subject: &'a Subject,
    config: &'a FinetuneConfig,
    seed: u64,
    /// What the frozen encoder says of the rows that teach, and of the test rows.
    frozen: (Features, Features),
}

/// Once for all shares.
fn frozen(extractor: &Extractor<'_>, pictures: &Pictures) -> Result<(Features, Features)> {
    let of = |set: &ImageDataset| extractor.features(set, &format!("frozen: {} pictures", set.split()));
    let mut train = of(&pictures.train)?;
    if let Some(validation) = &pictures.validation {
        train = super::joined(&train, &of(validation)?)?;
    }
    // `Pictures::open` has made sure of one.
    let Some(test) = &pictures.test else { anyhow::bail!("there are no test rows to score") };
    Ok((train, of(test)?))
}

impl Job<'_> {
    fn compare(&self, share: Share, untrained: Option<&ResNet>) -> Result<Compared> {
        let tuned = self.tuned(&share, &self.subject.encoder, "fine-tuned")?;
        let scratch = untrained.map(|net| self.tuned(&share, net, "from scratch")).transpose()?;
        let linear = self.linear(&share)?;
        Ok(Compared { share, tuned, scratch, linear })
    }

    fn tuned(&self, share: &Share, encoder: &ResNet, name: &str) -> Result<Scored> {
        let Self { pictures, subject, config, .. } = self;
        // `Pictures::open` has made sure of one.
        let Some(test) = &pictures.test else { anyhow::bail!("there are no test rows to score") };
        let transform = &subject.transform;
        let data = Labelled {
            sets: &pictures.teaching(),
            rows: &share.rows,
            labels: &share.labels,
            n_classes: pictures.rows.n_classes,
            views: &crops_and_flips(transform),
            transform,
            channels: subject.config().in_channels,
        };
        let what = format!("{} of labels, {name}", share.name);
        let progress = Progress::bar(config.pictures(share.rows.len()) as u64, &what);
        let mut learned = |n: usize| progress.advance(n as u64);
        let Subject { place, .. } = subject;
        let train = || byol_eval::finetune(encoder, &data, config, self.seed, &place.device, &mut learned);
        let (net, report) = place.guarded(train).context("smaller steps take less memory: --batch")??;
        progress.finish();
        if report.at_the_edge {
            tell(&format!(
                "note: {what}: the learning rate {} was best, which is at the end of those that were tried (--rates)",
                report.rate
            ));
        }
        let progress = Progress::bar(test.len() as u64, &format!("{what}: test pictures"));
        let mut done = |n: usize| progress.advance(n as u64);
        let channels = subject.config().in_channels;
        let ranked = place.guarded(|| net.predict(test, transform, channels, &place.device, &mut done))??;
        progress.finish();
        let details = json!({ "rate": report.rate, "epochs": report.epochs, "choice": report });
        Ok(Scored::new(Predicted { ranked, details }, &pictures.rows))
    }

    /// A logistic regression on what the frozen encoder says of the same pictures; none where
    /// they are too few to choose a penalty by.
    fn linear(&self, share: &Share) -> Result<Option<Scored>> {
        let rows = &self.pictures.rows;
        let held_out = every_nth_of_classes(&share.labels, HELD_OUT.min(share.rows.len()));
        if share.rows.len() < 2 {
            return Ok(None);
        }
        let (train, test) = &self.frozen;
        let known = train.pick(&share.rows)?;
        let (probe, report) = logistic_probe(&known, &share.labels, &held_out, rows.n_classes, &penalties())?;
        let details = json!({ "penalty": report.penalty });
        Ok(Some(Scored::new(Predicted { ranked: probe.predict(test)?, details }, rows)))
    }
}

impl Compared {
    /// Beside the fine-tuned network, under their names in JSON and for people.
    fn beside(&self) -> impl Iterator<Item = (&'static str, &'static str, &Scored)> {
        let all = [
            ("random_init", "from scratch", self.scratch.as_ref()),
            ("linear", "frozen, linear probe", self.linear.as_ref()),
        ];
        all.into_iter().filter_map(|(key, name, scored)| Some((key, name, scored?)))
    }

    fn json(&self) -> Value {
        let mut value = self.tuned.fields();
        value["labels"] = json!(self.share.name);
        value["n_labels"] = self.share.rows.len().into();
        value["labels_file"] = json!(self.share.list.as_deref().map(Path::display).map(|p| p.to_string()));
        value["details"] = self.tuned.details.clone();
        for (key, _, scored) in self.beside() {
            value[key] = scored.fields();
            value[key]["mcnemar_p"] = mcnemar(&self.tuned.score.correct, &scored.score.correct).into();
            value[key]["details"] = scored.details.clone();
        }
        value
    }

    fn say(&self) {
        let Share { name, rows, .. } = &self.share;
        let of = if name == "all" { "all".into() } else { format!("{name},") };
        say(&format!("{of} {}", counted(rows.len(), "label")));
        result::row("  fine-tuned", &self.tuned.score, None);
        for (_, name, scored) in self.beside() {
            let p = mcnemar(&self.tuned.score.correct, &scored.score.correct);
            result::row(&format!("  {name}"), &scored.score, Some(p));
        }
    }
}
