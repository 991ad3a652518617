//! Anybody's embeddings, by the same protocols.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use byol_eval::{Embeddings, Features};
use serde_json::json;

use super::protocol::Protocol;
use super::result::{Outcome, Scored};
use super::rows::Rows;
use crate::cli::EvalArgs;
use crate::exit::Usage;
use crate::terminal::{Progress, tell};

/// One in so many rows is scored, of embeddings that know no splits.
const TEST: usize = 5;

/// Rows of one split, with their labels.
struct Part {
    rows: Vec<usize>,
    labels: Vec<usize>,
}

pub fn evaluate(args: &EvalArgs, file: &Path, protocol: &Protocol) -> Result<()> {
    let started = Instant::now();
    if let Some(flag) = args.encoder.preprocessing_flag() {
        return Err(Usage(format!("{flag} goes with --weights: embeddings are computed already")).into());
    }
    let mut train = Embeddings::read(file)?;
    let test = args.test_embeddings.as_deref().map(Embeddings::read).transpose()?;
    if let Some((test, path)) = test.as_ref().zip(args.test_embeddings.as_deref()) {
        check_beside(&train, test, file, path)?;
        // One file, as if they had been written to it.
        train = together(train, test)?;
    }
    let of_split = |names: &[&str]| {
        let rows = (0..train.infos.len())
            .filter(|row| train.infos[*row].split.as_deref().is_some_and(|split| names.contains(&split)));
        labelled(&train, rows)
    };
    let known = train.infos.iter().any(|info| info.split.is_some());
    let alone = matches!(protocol, Protocol::Knn { .. });
    let (teach, validation, scored, how) = if known {
        let (teach, validation, test) =
            (of_split(&["train"]), of_split(&["validation", "valid", "val"]), of_split(&["test"]));
        match (validation.rows.is_empty(), test.rows.is_empty()) {
            (_, false) => (teach, (!validation.rows.is_empty()).then_some(validation), Some(test), ""),
            (false, true) => (teach, None, Some(validation), ""),
            (true, true) if alone => (teach, None, None, ""),
            (true, true) => bail!(
                "{}: the column `split` names no rows to score on, expected test or validation",
                file.display()
            ),
        }
    } else if alone {
        (labelled(&train, 0..train.infos.len()), None, None, "")
    } else {
        let is_test = |row: &usize| row % TEST == TEST - 1;
        let all = 0..train.infos.len();
        let teach = labelled(&train, all.clone().filter(|row| !is_test(row)));
        (teach, None, Some(labelled(&train, all.filter(is_test))), "every 5th row is scored; ")
    };
    if teach.rows.is_empty() || scored.as_ref().is_some_and(|scored| scored.rows.is_empty()) {
        bail!(
            "{}: no rows with a label {}; scoring needs the column `label`",
            file.display(),
            if teach.rows.is_empty() { "to learn from" } else { "to score" }
        );
    }
    let what = file.display().to_string();
    let all: Vec<usize> =
        teach.rows.iter().chain(validation.iter().flat_map(|part| &part.rows)).copied().collect();
    let rows = Rows::new(
        train.classes.clone(),
        teach.labels,
        validation.map(|part| part.labels),
        scored.as_ref().map(|part| part.labels.clone()),
        &what,
    )?;
    let n_unlabelled = train.infos.iter().filter(|info| info.label.is_none()).count();
    if n_unlabelled > 0 {
        tell(&format!("note: {n_unlabelled} of {} rows have no label and are left out", train.infos.len()));
    }
    let teaching = train.features.pick(&all)?;
    let asked = scored.as_ref().map(|part| train.features.pick(&part.rows)).transpose()?;
    let spinner = Progress::spinner("classifying");
    let predicted = protocol.classify(&teaching, asked.as_ref(), &rows)?;
    spinner.finish();
    let outcome = Outcome {
        subject: what,
        protocol: format!("{how}{}", protocol.describe(&rows)),
        n_train: rows.train.len(),
        n_test: rows.test.as_ref().map_or(rows.train.len(), Vec::len),
        encoder: predicted.into_iter().map(|predicted| Scored::new(predicted, &rows)).collect(),
        baselines: Vec::new(),
        left_out: None,
        more: json!({
            "dim": train.features.dim(),
            "duplicates": duplicates(&teaching, asked.as_ref()),
            "seconds": started.elapsed().as_secs_f64(),
        }),
    };
    outcome.tell_and_record(args.json, &rows, None, protocol)
}

fn labelled(embeddings: &Embeddings, rows: impl Iterator<Item = usize>) -> Part {
    let label = |row: usize| Some((row, usize::try_from(embeddings.infos[row].label?).ok()?));
    let (rows, labels) = rows.filter_map(label).unzip();
    Part { rows, labels }
}

fn check_beside(train: &Embeddings, test: &Embeddings, file: &Path, beside: &Path) -> Result<()> {
    if train.features.dim() != test.features.dim() {
        bail!(
            "{} has {} values a row and {} has {}",
            file.display(),
            train.features.dim(),
            beside.display(),
            test.features.dim()
        );
    }
    if let Some(name) = test.classes.iter().find(|name| !train.classes.contains(name)) {
        bail!(
            "{}: the class {name:?} is not one of {}: {:?}",
            beside.display(),
            file.display(),
            train.classes
        );
    }
    if test.classes.is_empty() != train.classes.is_empty() {
        bail!("{} and {}: one has classes by name, the other by number", file.display(), beside.display());
    }
    Ok(())
}

/// Training rows and then test rows, labels by the classes of the first.
fn together(mut train: Embeddings, test: &Embeddings) -> Result<Embeddings> {
    let classes = train.classes.clone();
    let number = |label: i64| -> Option<i64> {
        let Some(name) = usize::try_from(label).ok().and_then(|label| test.classes.get(label)) else {
            return Some(label);
        };
        i64::try_from(classes.iter().position(|class| class == name)?).ok()
    };
    let values = [train.features.values(), test.features.values()].concat();
    train.features = Features::new(train.features.dim(), values).context("both files together")?;
    train.infos.iter_mut().for_each(|info| info.split = Some("train".into()));
    train.infos.extend(test.infos.iter().cloned().map(|mut info| {
        info.label = info.label.and_then(number);
        info.split = Some("test".into());
        info
    }));
    Ok(train)
}

/// Rows that are scored and are among those that teach.
fn duplicates(train: &Features, test: Option<&Features>) -> usize {
    let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    let seen: std::collections::HashSet<Vec<u32>> = train.rows().map(bits).collect();
    test.map_or(0, |test| test.rows().filter(|row| seen.contains(&bits(row))).count())
}
