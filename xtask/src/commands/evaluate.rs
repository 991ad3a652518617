//! `linear-eval` and `knn`: the encoder of a run, the same encoder at random
//! initialisation, and raw pixels, by the same protocol.

use anyhow::{Result, bail};
use burn::tensor::Device;
use byol_data::ImageDataset;
use byol_eval::{Features, KnnConfig, Ranked, Score, extract, logistic_probe, mcnemar, pixels};
use byol_model::ResNet;
use serde_json::{Value, json};

use crate::cli::{EvalArgs, KnnArgs};
use crate::compose::{Source, set_threads};
use crate::exit::Usage;
use crate::subject::Subject;
use crate::terminal::Progress;

/// Values in a picture above which raw pixels are left out.
const MAX_PIXELS: usize = 4096;

/// The linear protocol.
pub fn linear_eval(args: &EvalArgs) -> Result<()> {
    let protocol = "multinomial logistic regression on standardised y, fitted to its optimum; \
                    penalty chosen on every tenth training picture, refitted on all";
    evaluate(
        args,
        |_| protocol.to_owned(),
        |train, labels, test, n_classes| {
            let (ranked, report) = logistic_probe(train, labels, test, n_classes)?;
            Ok((ranked, json!({ "penalty": report.penalty, "choice": report })))
        },
    )
}

/// The nearest-neighbour protocol.
pub fn knn(args: &KnnArgs) -> Result<()> {
    let (k, temperature) = (args.k as usize, args.temperature);
    if temperature.is_nan() || temperature <= 0.0 {
        return Err(Usage(format!("--temperature {temperature}: expected a positive number")).into());
    }
    let protocol = |n_train: usize| {
        let k = k.min(n_train);
        format!("{k} nearest neighbours by cosine of y, votes exp(similarity / {temperature})")
    };
    evaluate(&args.eval, protocol, |train, labels, test, n_classes| {
        let ranked = byol_eval::knn(train, labels, test, KnnConfig { k, temperature, n_classes })?;
        Ok((ranked, json!({ "k": k.min(train.len()), "temperature": temperature })))
    })
}

type Protocol<'a> = dyn Fn(&Features, &[usize], &Features, usize) -> Result<(Ranked, Value)> + 'a;

/// Both splits with their labels.
struct Splits {
    train: ImageDataset,
    test: ImageDataset,
    train_labels: Vec<usize>,
    test_labels: Vec<usize>,
    n_classes: usize,
}

fn evaluate(
    args: &EvalArgs,
    protocol: impl Fn(usize) -> String,
    classify: impl Fn(&Features, &[usize], &Features, usize) -> Result<(Ranked, Value)>,
) -> Result<()> {
    set_threads(args.threads)?;
    let device = Device::flex();
    let subject = Subject::open(&args.encoder, &device)?;
    let source = match (&args.data, &subject.plan) {
        (None, Some(plan)) => Source::from_plan(plan),
        (data, _) => Source::from_flag(data.as_deref())?,
    };
    let splits = Splits::open(&source)?;
    let protocol = protocol(splits.train.len());
    if args.data.is_none()
        && let Some(plan) = &subject.plan
        && splits.train.fingerprint() != plan.data.fingerprint
    {
        crate::terminal::tell(&format!(
            "note: {} has changed since the run was trained on it",
            source.describe()
        ));
    }
    if !args.json {
        crate::terminal::tell(&format!(
            "{}; {} training and {} test pictures of {}",
            subject.name,
            splits.train.len(),
            splits.test.len(),
            source.describe()
        ));
    }
    let classify: &Protocol<'_> = &classify;
    let (encoder, details) =
        splits.score_encoder("encoder", &subject.encoder, &subject, &device, classify)?;
    let untrained = subject.untrained(&device)?;
    let (random, _) = splits.score_encoder("random encoder", &untrained, &subject, &device, classify)?;
    let raw = splits.score_pixels(&subject, classify)?;

    let p_random = mcnemar(&encoder.correct, &random.correct);
    let p_pixels = raw.as_ref().map(|raw| mcnemar(&encoder.correct, &raw.correct));
    if args.json {
        let mut result = fields(&encoder);
        result["n_test"] = splits.test.len().into();
        result["n_train"] = splits.train.len().into();
        result["protocol"] = protocol.into();
        result["details"] = details;
        result["encoder"] = json!(subject.name);
        if let Some(run) = &subject.run {
            result["run"] = json!(run);
        }
        result["random_init"] = fields(&random);
        result["random_init"]["mcnemar_p"] = p_random.into();
        if let (Some(raw), Some(p)) = (&raw, p_pixels) {
            result["pixels"] = fields(raw);
            result["pixels"]["mcnemar_p"] = p.into();
        }
        crate::terminal::say(&format!("{result}"));
    } else {
        crate::terminal::say(&protocol);
        crate::terminal::say(&format!(
            "{:<28} {:>7}  {:<17} {:>7}  vs encoder",
            "", "top-1", "95 % interval", "top-5"
        ));
        print_row("encoder", &encoder, None);
        print_row("same encoder, random init", &random, Some(p_random));
        match (&raw, p_pixels) {
            (Some(raw), p) => print_row("raw pixels", raw, p),
            _ => crate::terminal::say(&format!(
                "{:<28} left out: more than {MAX_PIXELS} values a picture",
                "raw pixels"
            )),
        }
    }
    Ok(())
}

impl Splits {
    fn open(source: &Source) -> Result<Self> {
        let (train, test) = (source.open("train")?, source.open_test()?);
        let labels = |set: &ImageDataset| match set.labels()? {
            Some(labels) => Ok(labels),
            None => bail!(
                "{}: the `{}` split has pictures without a label; scoring needs labels",
                source.describe(),
                set.split()
            ),
        };
        let (train_labels, test_labels) = (labels(&train)?, labels(&test)?);
        if train.classes() != test.classes() {
            bail!(
                "{}: the splits name different classes: {:?} and {:?}",
                source.describe(),
                train.classes(),
                test.classes()
            );
        }
        let largest = train_labels.iter().chain(&test_labels).max().copied().unwrap_or(0);
        let n_classes = train.classes().len().max(largest + 1);
        if n_classes > 100_000 {
            bail!("{}: a label of {largest}, more than classes can be", source.describe());
        }
        Ok(Self { train, test, train_labels, test_labels, n_classes })
    }

    fn score_encoder(
        &self,
        name: &str,
        encoder: &ResNet,
        subject: &Subject,
        device: &Device,
        classify: &Protocol<'_>,
    ) -> Result<(Score, Value)> {
        let (transform, channels) = (&subject.transform, subject.config().in_channels);
        let total = (self.train.len() + self.test.len()) as u64;
        let progress = Progress::bar(total, &format!("{name}: representations"));
        let features = |set: &ImageDataset, before: usize| {
            extract(encoder, set, transform, channels, device, |done| {
                progress.set((before + done) as u64);
            })
        };
        let train = features(&self.train, 0)?;
        let test = features(&self.test, self.train.len())?;
        progress.finish();
        self.score(name, &train, &test, classify)
    }

    fn score_pixels(&self, subject: &Subject, classify: &Protocol<'_>) -> Result<Option<Score>> {
        let (transform, channels) = (&subject.transform, subject.config().in_channels);
        if channels * transform.size * transform.size > MAX_PIXELS {
            return Ok(None);
        }
        let train = pixels(&self.train, transform, channels)?;
        let test = pixels(&self.test, transform, channels)?;
        Ok(Some(self.score("raw pixels", &train, &test, classify)?.0))
    }

    fn score(
        &self,
        name: &str,
        train: &Features,
        test: &Features,
        classify: &Protocol<'_>,
    ) -> Result<(Score, Value)> {
        let spinner = Progress::spinner(&format!("{name}: classifying"));
        let (ranked, details) = classify(train, &self.train_labels, test, self.n_classes)?;
        spinner.finish();
        Ok((Score::new(&ranked, &self.test_labels), details))
    }
}

fn fields(score: &Score) -> Value {
    json!({
        "top1": score.top1,
        "top1_low": score.interval.0,
        "top1_high": score.interval.1,
        "top5": score.top5,
    })
}

fn print_row(name: &str, score: &Score, p: Option<f64>) {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let interval = format!("{:.2} to {:.2} %", 100.0 * score.interval.0, 100.0 * score.interval.1);
    let p = p.map_or(String::new(), |p| format!("McNemar p = {p:.1e}"));
    crate::terminal::say(&format!(
        "{name:<28} {:>7}  {interval:<17} {:>7}  {p}",
        percent(score.top1),
        percent(score.top5)
    ));
}
