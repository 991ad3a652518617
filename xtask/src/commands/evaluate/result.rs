//! What a score is to people, to programs, and to the run's folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use byol_data::write_atomic;
use byol_eval::{Confusion, Score, mcnemar};
use serde_json::{Value, json};

use super::protocol::Predicted;
use super::rows::Rows;
use crate::terminal::{CARGO, say, tell, typed};

/// Classes up to which a confusion matrix is written.
const MOST_CONFUSED: usize = 200;

/// Predictions, compared with the labels.
pub struct Scored {
    pub score: Score,
    confusion: Option<Confusion>,
    pub details: Value,
}

impl Scored {
    pub fn new(predicted: Predicted, rows: &Rows) -> Self {
        let labels = rows.test.as_ref().unwrap_or(&rows.train);
        let Predicted { ranked, details } = predicted;
        let confusion =
            (rows.n_classes <= MOST_CONFUSED).then(|| Confusion::new(&ranked, labels, rows.n_classes));
        Self { score: Score::new(&ranked, labels), confusion, details }
    }

    /// For JSON.
    pub fn fields(&self) -> Value {
        let Score { top1, interval, top5, mean_per_class, .. } = &self.score;
        json!({
            "top1": top1,
            "top1_low": interval.0,
            "top1_high": interval.1,
            "top5": top5,
            "mean_per_class": mean_per_class,
        })
    }
}

/// All that came out.
pub struct Outcome {
    pub subject: String,
    pub protocol: String,
    pub n_train: usize,
    pub n_test: usize,
    /// Several where several k were asked for.
    pub encoder: Vec<Scored>,
    /// By the same protocol, under their names in JSON.
    pub baselines: Vec<(&'static str, Vec<Scored>)>,
    /// Why there are no pixels.
    pub left_out: Option<String>,
    /// For JSON.
    pub more: Value,
}

impl Outcome {
    /// To stdout and, of a run, to the file of that name in its folder.
    pub fn tell_and_record(&self, json: bool, rows: &Rows, run: Option<&Path>, name: &str) -> Result<()> {
        let value = self.json(rows, run);
        if json {
            say(&value.to_string());
        } else {
            self.say(rows);
        }
        match run {
            Some(run) => record(run, name, &value),
            None => Ok(()),
        }
    }

    fn json(&self, rows: &Rows, run: Option<&Path>) -> Value {
        let first = &self.encoder[0]; // there is one: k is never empty
        let mut value = first.fields();
        value["n_test"] = self.n_test.into();
        value["n_train"] = self.n_train.into();
        value["protocol"] = json!(self.protocol);
        value["details"] = first.details.clone();
        value["encoder"] = json!(self.subject);
        value["classes"] = (0..rows.n_classes).map(|class| rows.name(class)).collect();
        if let Some(confusion) = &first.confusion {
            value["confusion"] = json!(confusion.counts);
            value["per_class"] = json!(confusion.of_classes());
        }
        if let Some(run) = run {
            value["run"] = json!(run);
            value["command"] = json!(command(run));
        }
        for (name, baseline) in &self.baselines {
            value[*name] = baseline[0].fields();
            value[*name]["mcnemar_p"] = mcnemar(&first.score.correct, &baseline[0].score.correct).into();
        }
        if self.encoder.len() > 1 {
            let of = |scored: &Scored| {
                let mut fields = scored.fields();
                fields["details"] = scored.details.clone();
                fields
            };
            value["results"] = self.encoder.iter().map(of).collect();
        }
        for (key, more) in self.more.as_object().into_iter().flatten() {
            value[key.as_str()] = more.clone();
        }
        value
    }

    fn say(&self, rows: &Rows) {
        say(&self.protocol);
        head("vs encoder");
        for (nth, scored) in self.encoder.iter().enumerate() {
            let k = |scored: &Scored| {
                scored.details["k"].as_u64().map_or(String::new(), |k| format!(", k = {k}"))
            };
            let k = if self.encoder.len() > 1 { k(scored) } else { String::new() };
            row(&format!("encoder{k}"), &scored.score, None);
            for (name, baseline) in &self.baselines {
                let name = match *name {
                    "random_init" => "same encoder, random init",
                    "pixels" => "raw pixels",
                    other => other,
                };
                let p = mcnemar(&scored.score.correct, &baseline[nth].score.correct);
                row(&format!("{name}{k}"), &baseline[nth].score, Some(p));
            }
        }
        if let Some(why) = &self.left_out {
            say(&format!("{:<28} left out: {why}", "raw pixels"));
        }
        if let Some(confusion) = self.encoder.first().and_then(|first| first.confusion.as_ref()) {
            let worst = worst(confusion, rows);
            if !worst.is_empty() {
                say(&format!("most often mistaken: {worst}"));
            }
        }
    }
}

/// Above [`row`]s.
pub fn head(versus: &str) {
    say(&format!(
        "{:<28} {:>7}  {:<17} {:>7}  {:>9}  {versus}",
        "", "top-1", "95 % interval", "top-5", "per class"
    ));
}

/// A line of a table: a score, and the p of its difference from the first.
pub fn row(name: &str, score: &Score, p: Option<f64>) {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let interval = format!("{:.2} to {:.2} %", 100.0 * score.interval.0, 100.0 * score.interval.1);
    let p = p.map_or(String::new(), |p| format!("McNemar p = {p:.1e}"));
    say(&format!(
        "{name:<28} {:>7}  {interval:<17} {:>7}  {:>9}  {p}",
        percent(score.top1),
        percent(score.top5),
        percent(score.mean_per_class)
    ));
}

/// The three that are most often taken for another, of those with a class more than two.
fn worst(confusion: &Confusion, rows: &Rows) -> String {
    if confusion.counts.len() < 3 {
        return String::new();
    }
    let mut all: Vec<(usize, usize, usize)> = Vec::new();
    for (label, counts) in confusion.counts.iter().enumerate() {
        let others = counts.iter().enumerate().filter(|(class, n)| *class != label && **n > 0);
        all.extend(others.map(|(class, n)| (*n, label, class)));
    }
    all.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let shown = all.iter().take(3).map(|(n, label, class)| {
        let of: usize = confusion.counts[*label].iter().sum();
        format!("{} for {} ({n} of {of})", rows.name(*label), rows.name(*class))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// What makes a score again: what was typed, with the run that it was about.
pub fn command(run: &Path) -> String {
    // `args` would panic at a name that is no text.
    let typed_words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let mut words: Vec<String> = typed_words.filter(|word| word != "--json").collect();
    if !words.iter().any(|word| word == "--run" || word.starts_with("--run=")) {
        words.extend(["--run".to_owned(), run.display().to_string()]);
    }
    let words: Vec<String> = words.iter().map(|word| typed(Path::new(word))).collect();
    format!("{CARGO} {}", words.join(" "))
}

/// Scores are one file a protocol, and set of pictures, in the run's folder; the last one counts.
pub fn record(run: &Path, name: &str, value: &Value) -> Result<()> {
    let folder = run.join("scores");
    let path = folder.join(format!("{name}.json"));
    let written = fs::create_dir_all(&folder)
        .with_context(|| format!("making {}", folder.display()))
        .and_then(|()| Ok(write_atomic(&path, format!("{value:#}\n").as_bytes())?));
    if let Err(error) = written {
        // The score was told; a folder that cannot be written must not hide it.
        tell(&format!("warning: the score is not in the run's folder: {error:#}"));
    }
    Ok(())
}
