//! `runs`: what was trained, and how good it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use byol_train::{RunDir, RunPlan};
use serde_json::{Map, Value, json};

use crate::cli::{RunColumn, RunsArgs};
use crate::terminal::{say, tell};

/// A run folder, as far as it tells.
pub struct Run {
    pub path: PathBuf,
    pub name: String,
    pub plan: RunPlan,
    /// Whether its encoder is there.
    pub ended: bool,
    /// The last line of its metrics.
    pub last: Value,
    /// The last score of its neighbours while it went on.
    pub online_knn: Option<f64>,
    /// What its `scores` hold, by protocol.
    pub scores: Map<String, Value>,
}

/// A table of the folders.
pub fn run(args: &RunsArgs) -> Result<()> {
    let entries =
        fs::read_dir(&args.dir).with_context(|| format!("reading {} (--dir)", args.dir.display()))?;
    let mut runs = Vec::new();
    for entry in entries.flatten() {
        if !entry.path().join("run.toml").is_file() {
            continue;
        }
        match Run::open(&entry.path()) {
            Ok(run) => runs.push(run),
            Err(error) => tell(&format!("note: left out: {error:#}")),
        }
    }
    runs.sort_by(|a, b| a.name.cmp(&b.name));
    match args.sort {
        RunColumn::Name => {}
        RunColumn::Preset => runs.sort_by(|a, b| a.plan.spec.preset.cmp(&b.plan.spec.preset)),
        RunColumn::Data => runs.sort_by(|a, b| a.plan.data.path.cmp(&b.plan.data.path)),
        RunColumn::Steps => runs.sort_by_key(|run| std::cmp::Reverse(run.steps())),
        RunColumn::Loss => runs.sort_by(|a, b| a.loss().total_cmp(&b.loss())),
        RunColumn::Knn => runs.sort_by(|a, b| falling(a.knn(), b.knn())),
        RunColumn::Linear => runs.sort_by(|a, b| falling(a.linear(), b.linear())),
    }
    if args.json {
        let all: Vec<Value> = runs.iter().map(Run::json).collect();
        say(&json!({ "runs": all }).to_string());
        return Ok(());
    }
    if runs.is_empty() {
        tell(&format!("{}: no runs; begin with cargo xtask pretrain", args.dir.display()));
        return Ok(());
    }
    table(&runs);
    Ok(())
}

/// Those without a score come last.
fn falling(a: Option<f64>, b: Option<f64>) -> std::cmp::Ordering {
    let of = |x: Option<f64>| x.unwrap_or(f64::NEG_INFINITY);
    of(b).total_cmp(&of(a))
}

impl Run {
    /// What the folder holds; metrics and scores that cannot be read are none.
    pub fn open(path: &Path) -> Result<Self> {
        let run = RunDir::open(path)?;
        let plan = run.plan()?;
        let mut online_knn = None;
        let last = metrics(path, |line| online_knn = line["knn_top1"].as_f64().or(online_knn));
        let mut scores = Map::new();
        for entry in fs::read_dir(path.join("scores")).into_iter().flatten().flatten() {
            let file = entry.path();
            let (Some(name), Some("json")) =
                (file.file_stem().and_then(|s| s.to_str()), file.extension().and_then(|e| e.to_str()))
            else {
                continue;
            };
            let read = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            match read.filter(|score| score["top1"].is_f64()) {
                Some(score) => {
                    scores.insert(name.to_owned(), score);
                }
                None => tell(&format!("note: {} holds no score and is left out", file.display())),
            }
        }
        let absolute = std::path::absolute(path)?;
        let name = absolute.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self {
            path: path.into(),
            name,
            ended: run.encoder_path().is_file(),
            plan,
            last: last.unwrap_or_default(),
            online_knn,
            scores,
        })
    }

    fn steps(&self) -> u64 {
        self.last["step"].as_u64().unwrap_or(0)
    }

    fn loss(&self) -> f64 {
        self.last["loss"].as_f64().unwrap_or(f64::INFINITY)
    }

    /// On the pictures that the run has learned from; what is scored on others is in the report.
    fn score(&self, name: &str) -> Option<f64> {
        let score = self.scores.get(name)?;
        let own = score["data"].as_str().is_none_or(|data| data == self.plan.data.path);
        if own { score["top1"].as_f64() } else { None }
    }

    fn knn(&self) -> Option<f64> {
        self.score("knn")
    }

    fn linear(&self) -> Option<f64> {
        let of = |name| self.score(name);
        of("linear-lbfgs").or_else(|| of("linear-paper")).or_else(|| of("linear-paper-unaugmented"))
    }

    fn state(&self) -> String {
        if self.ended { "ended".into() } else { format!("at {} of {}", self.steps(), self.plan.total_steps) }
    }

    /// When something was last written, in seconds of 1970.
    fn modified(&self) -> Option<u64> {
        let modified = fs::metadata(self.path.join("metrics.jsonl")).ok()?.modified().ok()?;
        Some(modified.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
    }

    fn json(&self) -> Value {
        json!({
            "run": self.path,
            "name": self.name,
            "preset": self.plan.spec.preset,
            "seed": self.plan.spec.seed,
            "data": self.plan.data.path,
            "encoder": self.plan.encoder().name(),
            "steps": self.steps(),
            "total_steps": self.plan.total_steps,
            "ended": self.ended,
            "modified": self.modified(),
            "last": self.last,
            "online_knn": self.online_knn,
            "scores": self.scores,
        })
    }
}

/// Every line of the metrics to `each`; the last one.
pub fn metrics(run: &Path, mut each: impl FnMut(&Value)) -> Option<Value> {
    let text = fs::read(run.join("metrics.jsonl")).ok()?;
    let mut last = None;
    for line in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
        each(&line);
        last = Some(line);
    }
    last
}

fn table(runs: &[Run]) {
    let head = ["run", "preset", "seed", "encoder", "steps", "state", "loss", "rank", "kNN", "linear"];
    let percent = |share: Option<f64>| share.map_or("–".into(), |share| format!("{:.2} %", 100.0 * share));
    let number = |value: &Value| value.as_f64().map_or("–".into(), |x| format!("{x:.2}"));
    let of_run = |run: &Run| {
        let mut rank = Value::Null;
        metrics(&run.path, |line| {
            if line["rank"].is_f64() {
                rank = line["rank"].clone();
            }
        });
        [
            run.name.clone(),
            run.plan.spec.preset.clone(),
            run.plan.spec.seed.to_string(),
            run.plan.encoder().name(),
            run.steps().to_string(),
            run.state(),
            number(&run.last["loss"]),
            number(&rank),
            percent(run.knn()),
            percent(run.linear()),
        ]
    };
    let rows: Vec<[String; 10]> = runs.iter().map(of_run).collect();
    let wide: Vec<usize> = (0..head.len())
        .map(|c| rows.iter().map(|row| row[c].chars().count()).chain([head[c].len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&wide)
            .map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - cell.chars().count())))
            .collect();
        say(padded.join("  ").trim_end());
    };
    line(&mut head.into_iter());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
}
