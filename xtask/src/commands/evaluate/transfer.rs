//! `transfer`: a frozen encoder on several data sets, beside the paper's figures (D.2, Table 3).

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use byol_eval::{Score, mcnemar};
use serde_json::{Value, json};

use super::Job;
use super::protocol::Protocol;
use super::result::{self, Scored};
use super::rows::Pictures;
use crate::catalogue::{self, Manifest, Measure, PaperTransfer};
use crate::cli::{TransferArgs, TransferProtocol};
use crate::compose::{Source, set_threads};
use crate::device::pick_for_encoder;
use crate::exit::Usage;
use crate::subject::Subject;
use crate::terminal::{say, tell};

/// Of `--protocol knn`.
const K: usize = 20;
const TEMPERATURE: f64 = 0.07;

/// A set that was named.
struct Set {
    name: String,
    source: Source,
    manifest: Option<Manifest>,
}

impl Set {
    /// `NAME`, `NAME=DIR` or `DIR`.
    fn find(named: &str) -> Result<Self> {
        if named == SHIPPED {
            return Ok(Self { name: named.into(), source: Source::Shipped, manifest: None });
        }
        let (name, folder) = match named.split_once('=') {
            Some((name, folder)) => (name, Some(folder)),
            None => (named, None),
        };
        let known = catalogue::all()?.into_iter().find(|manifest| manifest.name == name);
        let (name, folder) = match (&known, folder) {
            (Some(_), Some(folder)) => (name, folder.to_owned()),
            (Some(_), None) => (name, format!("datasets/{name}")),
            (None, Some(_)) => {
                // The error that names them all.
                catalogue::find(name)?;
                (name, named.to_owned())
            }
            (None, None) => (named, named.to_owned()),
        };
        if !Path::new(&folder).is_dir() {
            return Err(Usage(match known {
                Some(_) => format!(
                    "{name}: {folder} is not there. cargo xtask download {name} makes it; one that lies elsewhere is \
                     {name}=DIR"
                ),
                None => format!("{folder}: neither a folder nor a name that cargo xtask datasets lists"),
            })
            .into());
        }
        let source = Source::from_flag(Some(Path::new(&folder)))?;
        Ok(Self { name: name.to_owned(), source, manifest: known })
    }

    fn paper(&self) -> Option<&PaperTransfer> {
        self.manifest.as_ref()?.paper.as_ref()
    }

    fn measure(&self) -> Measure {
        self.paper().map_or(Measure::Top1, |paper| paper.measure)
    }
}

/// The set that is built in.
const SHIPPED: &str = "fashion-mnist-mini";

/// What came of a set.
struct Line {
    set: Set,
    encoder: Scored,
    random: Option<Scored>,
    n_train: usize,
    n_test: usize,
    duplicates: usize,
    details: Value,
}

/// A table, a line a set.
pub fn transfer(args: &TransferArgs) -> Result<()> {
    set_threads(args.how.threads)?;
    let started = Instant::now();
    let place = pick_for_encoder(args.how.device, args.how.json)?;
    // All of them before the first takes its time.
    let sets: Vec<Set> = args.sets.iter().map(|name| Set::find(name)).collect::<Result<_>>()?;
    for (i, set) in sets.iter().enumerate() {
        if sets[..i].iter().any(|before| before.source.describe() == set.source.describe()) {
            return Err(Usage(format!("{} is named twice", set.name)).into());
        }
    }
    let subject = Subject::open(&args.encoder)?;
    let protocol = match args.protocol {
        TransferProtocol::Lbfgs => Protocol::Optimum,
        TransferProtocol::Knn => Protocol::Knn { ks: vec![K], temperature: TEMPERATURE },
    };
    // What cannot be scored is said before the first takes its time.
    for set in &sets {
        Pictures::open(&set.source, false)?.check_channels(&subject)?;
    }
    let subject = subject.on(place)?;
    let untrained = if args.no_random { None } else { Some(subject.untrained()?) };
    let mut lines = Vec::new();
    for set in sets {
        let name = set.name.clone();
        let line = (|| {
            let pictures = Pictures::open(&set.source, false)?;
            let duplicates = pictures.tell_duplicates()?;
            let job = Job {
                pictures: &pictures,
                subject: &subject,
                protocol: &protocol,
                cached: !args.how.no_cache,
            };
            let encoder = first(job.of_encoder(&format!("{name}, encoder"), &subject.encoder)?)?;
            let of_random = |net| first(job.of_encoder(&format!("{name}, random init"), net)?);
            Ok(Line {
                set,
                details: encoder.details.clone(),
                encoder,
                random: untrained.as_ref().map(of_random).transpose()?,
                n_train: pictures.rows.train.len(),
                n_test: pictures.rows.test.as_ref().map_or(0, Vec::len),
                duplicates,
            })
        })();
        lines.push(line.map_err(|error: anyhow::Error| error.context(name))?);
    }
    let encoder = subject.config().name();
    let words = match args.protocol {
        TransferProtocol::Lbfgs => {
            "multinomial logistic regression on standardised y, fitted to its optimum; penalty chosen on the validation \
             split, or a tenth of the training pictures, and refitted on all"
        }
        TransferProtocol::Knn => "20 nearest neighbours by cosine of y, votes exp(similarity / 0.07)",
    };
    let value = json!({
        "encoder": subject.name,
        "protocol": words,
        "results": lines.iter().map(|line| line.json(&encoder, args.protocol)).collect::<Vec<_>>(),
        "mean": mean(&lines),
        "device": subject.place.name(),
        "seconds": started.elapsed().as_secs_f64(),
    });
    if args.how.json {
        say(&value.to_string());
    } else {
        say(&format!("{}: {words}", subject.name));
        table(&lines, &encoder, args.protocol);
    }
    match &subject.run {
        Some(run) => {
            let mut kept = value;
            kept["run"] = json!(run);
            kept["command"] = json!(result::command(run));
            // What `runs` and `report` look for.
            kept["top1"] = lines[0].encoder.score.top1.into(); // there is one: clap requires it
            result::record(run, "transfer", &kept)
        }
        None => Ok(()),
    }
}

fn first(scored: Vec<Scored>) -> Result<Scored> {
    scored.into_iter().next().context("no score")
}

/// Of the encoder's measures.
fn mean(lines: &[Line]) -> f64 {
    lines.iter().map(|line| of(line.set.measure(), &line.encoder.score).0).sum::<f64>()
        / lines.len().max(1) as f64
}

/// A score by a measure, with its interval.
fn of(measure: Measure, score: &Score) -> (f64, (f64, f64)) {
    match measure {
        Measure::Top1 => (score.top1, score.interval),
        Measure::MeanPerClass => (score.mean_per_class, score.mean_per_class_interval),
    }
}

impl Line {
    /// Why the paper's figure is of something else; nothing where it is not.
    fn incomparable(&self, encoder: &str, protocol: TransferProtocol) -> Option<String> {
        let Some(paper) = self.set.paper() else { return Some("not in the paper's Table 3".into()) };
        if protocol != TransferProtocol::Lbfgs {
            return Some("another protocol".into());
        }
        if (self.n_train as u64, self.n_test as u64) != (paper.train, paper.test) {
            return Some(format!("another split: the paper's has {} and {}", paper.train, paper.test));
        }
        (encoder != "resnet50").then(|| format!("{encoder}, not ResNet-50"))
    }

    fn json(&self, encoder: &str, protocol: TransferProtocol) -> Value {
        let measure = self.set.measure();
        let mut value = self.encoder.fields();
        let (score, (low, high)) = of(measure, &self.encoder.score);
        value["set"] = json!(self.set.name);
        value["data"] = json!(self.set.source.describe());
        value["measure"] = json!(match measure {
            Measure::Top1 => "top1",
            Measure::MeanPerClass => "mean_per_class",
        });
        value["score"] = score.into();
        value["score_low"] = low.into();
        value["score_high"] = high.into();
        value["n_train"] = self.n_train.into();
        value["n_test"] = self.n_test.into();
        value["duplicates"] = self.duplicates.into();
        value["details"] = self.details.clone();
        if let Some(random) = &self.random {
            value["random_init"] = random.fields();
            value["random_init"]["score"] = of(measure, &random.score).0.into();
            value["random_init"]["mcnemar_p"] =
                mcnemar(&self.encoder.score.correct, &random.score.correct).into();
        }
        if let Some(paper) = self.set.paper() {
            value["paper"] = json!({
                "byol": paper.byol / 100.0,
                "supervised": paper.supervised / 100.0,
                "comparable": self.incomparable(encoder, protocol).is_none(),
            });
        }
        value["why_not_comparable"] = json!(self.incomparable(encoder, protocol));
        value
    }
}

fn table(lines: &[Line], encoder: &str, protocol: TransferProtocol) {
    let wide = lines.iter().map(|line| line.set.name.chars().count()).max().unwrap_or(0).max(4);
    say(&format!(
        "{:<wide$} {:>7} {:>7}  {:<14} {:>7}  {:<17} {:>7}  {:>10} {:>10}  comparable",
        "set", "train", "test", "measure", "encoder", "95 % interval", "random", "BYOL R50", "supervised"
    ));
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    for line in lines {
        let measure = line.set.measure();
        let (score, (low, high)) = of(measure, &line.encoder.score);
        let of_paper = |of: fn(&PaperTransfer) -> f64| {
            line.set.paper().map_or("–".into(), |paper| format!("{:.1} %", of(paper)))
        };
        say(&format!(
            "{:<wide$} {:>7} {:>7}  {:<14} {:>7}  {:<17} {:>7}  {:>10} {:>10}  {}",
            line.set.name,
            line.n_train,
            line.n_test,
            match measure {
                Measure::Top1 => "top-1",
                Measure::MeanPerClass => "mean per class",
            },
            percent(score),
            format!("{:.2} to {:.2} %", 100.0 * low, 100.0 * high),
            line.random.as_ref().map_or("–".into(), |random| percent(of(measure, &random.score).0)),
            of_paper(|paper| paper.byol),
            of_paper(|paper| paper.supervised),
            match line.incomparable(encoder, protocol) {
                Some(why) => format!("no: {why}"),
                None => "yes, if of ImageNet".into(),
            }
        ));
    }
    if lines.len() > 1 {
        say(&format!("mean of the encoder's: {}", percent(mean(lines))));
    }
    if lines.iter().any(|line| line.set.paper().is_some()) {
        say(
            "BYOL R50 and supervised: the paper's ResNet-50 of ImageNet at 224 pixels (Table 3, linear evaluation)",
        );
    } else {
        tell("note: none of these sets is in the paper's table");
    }
}
