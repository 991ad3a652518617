//! Anybody's embeddings, by the same protocols.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use byol_eval::{Embeddings, Features, RowInfo, every_nth_of_classes};
use serde_json::json;

use super::protocol::Protocol;
use super::result::{Outcome, Scored};
use super::rows::Rows;
use crate::cli::EvalArgs;
use crate::device::Choice;
use crate::exit::Usage;
use crate::terminal::{Progress, tell};

/// One in so many rows is scored, of embeddings that know no splits.
const TEST: usize = 5;
/// The split of rows that have been left out already.
const OTHERS: &str = "left out";

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
    if args.how.device != Choice::Auto {
        return Err(Usage("--device goes with an encoder: embeddings are computed already".into()).into());
    }
    let mut train = Embeddings::read(file)?;
    let test = args.test_embeddings.as_deref().map(Embeddings::read).transpose()?;
    if let Some((test, path)) = test.as_ref().zip(args.test_embeddings.as_deref()) {
        check_beside(&train, test, file, path)?;
        // One file, as if they had been written to it.
        train = together(train, test, file)?;
    }
    let alone = matches!(protocol, Protocol::Knn { .. });
    let Parts { teach, validation, scored, how } = parts(&train, alone, file)?;
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
    let n_duplicates = duplicates(&teaching, asked.as_ref());
    if n_duplicates > 0 {
        tell(&format!(
            "note: {n_duplicates} of {} scored rows are among those that teach, value by value; scores on them say \
             nothing about new pictures",
            asked.as_ref().map_or(0, Features::len)
        ));
    }
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
            "duplicates": n_duplicates,
            "seconds": started.elapsed().as_secs_f64(),
        }),
    };
    outcome.tell_and_record(args.how.json, &rows, None, protocol.name())
}

/// Rows that teach, that choose and that are scored.
struct Parts {
    teach: Part,
    validation: Option<Part>,
    scored: Option<Part>,
    /// What to say of it.
    how: &'static str,
}

/// By the column `split`, if there is one.
fn parts(all: &Embeddings, alone: bool, file: &Path) -> Result<Parts> {
    let n = all.infos.len();
    let has_labels = |part: Part, of: &str| {
        if part.rows.is_empty() {
            bail!("{}: no row{of} has a label; scoring needs the column `label`", file.display());
        }
        Ok(part)
    };
    let mut splits: BTreeMap<&str, usize> = BTreeMap::new();
    for split in all.infos.iter().filter_map(|info| info.split.as_deref()) {
        *splits.entry(split).or_default() += 1;
    }
    if splits.is_empty() {
        if alone {
            let teach = has_labels(labelled(all, 0..n), "")?;
            return Ok(Parts { teach, validation: None, scored: None, how: "" });
        }
        let Part { rows, labels } = has_labels(labelled(all, 0..n), "")?;
        let is_test = every_nth_of_classes(&labels, TEST.min(rows.len()));
        let of = |test: bool| {
            labelled(all, rows.iter().zip(&is_test).filter(move |(_, is)| **is == test).map(|(row, _)| *row))
        };
        let how = "every 5th row of each class is scored; ";
        if rows.len() < 2 {
            bail!("{}: one row with a label; scoring needs others to learn from", file.display());
        }
        return Ok(Parts { teach: of(false), validation: None, scored: Some(of(true)), how });
    }
    let known = ["train", "test", "validation", "valid", "val"];
    if !splits.contains_key("train") {
        bail!("{}: the column `split` has {:?}, expected train and test", file.display(), splits.keys());
    }
    let named = splits.values().sum::<usize>();
    if named < n {
        tell(&format!("note: {} of {n} rows are left out: they are of no split", n - named));
    }
    for (name, rows) in splits.iter().filter(|(name, _)| !known.contains(*name) && **name != OTHERS) {
        tell(&format!("note: {rows} of {n} rows are left out: their split is {name:?}"));
    }
    let of_split = |names: &[&str]| {
        let rows =
            (0..n).filter(|row| all.infos[*row].split.as_deref().is_some_and(|split| names.contains(&split)));
        has_labels(labelled(all, rows), &format!(" of the split {:?}", names[0]))
    };
    let spare = known[2..].iter().find(|name| splits.contains_key(**name));
    let teach = of_split(&["train"])?;
    match (splits.contains_key("test"), spare) {
        (true, spare) => Ok(Parts {
            teach,
            validation: spare.map(|name| of_split(&[name])).transpose()?,
            scored: Some(of_split(&["test"])?),
            how: "",
        }),
        (false, Some(name)) => {
            Ok(Parts { teach, validation: None, scored: Some(of_split(&[name])?), how: "" })
        }
        (false, None) if alone => Ok(Parts { teach, validation: None, scored: None, how: "" }),
        (false, None) => {
            bail!(
                "{}: the column `split` names no rows to score on, expected test or validation",
                file.display()
            )
        }
    }
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
    if test.classes.is_empty() != train.classes.is_empty() {
        bail!("{} and {}: one has classes by name, the other by number", file.display(), beside.display());
    }
    if let Some(name) = test.classes.iter().find(|name| !train.classes.contains(name)) {
        bail!(
            "{}: the class {name:?} is not one of {}: {:?}",
            beside.display(),
            file.display(),
            train.classes
        );
    }
    Ok(())
}

/// Training rows and then test rows, labels by the classes of the first.
fn together(mut train: Embeddings, test: &Embeddings, file: &Path) -> Result<Embeddings> {
    let classes = train.classes.clone();
    let number = |label: i64| -> Option<i64> {
        let Some(name) = usize::try_from(label).ok().and_then(|label| test.classes.get(label)) else {
            return Some(label);
        };
        i64::try_from(classes.iter().position(|class| class == name)?).ok()
    };
    let values = [train.features.values(), test.features.values()].concat();
    train.features = Features::new(train.features.dim(), values).context("both files together")?;
    // Rows of another split do not teach.
    let of_train = |split: &Option<String>| split.as_deref() == Some("train");
    if train.infos.iter().any(|info| of_train(&info.split)) {
        let others = train.infos.iter().filter(|info| !of_train(&info.split)).count();
        if others > 0 {
            tell(&format!(
                "note: {others} rows of {} are left out: their split is not train",
                file.display()
            ));
        }
    } else {
        train.infos.iter_mut().for_each(|info| info.split = Some("train".into()));
    }
    let left_out = |info: &mut RowInfo| info.split = Some(OTHERS.into());
    train.infos.iter_mut().filter(|info| !of_train(&info.split)).for_each(left_out);
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
