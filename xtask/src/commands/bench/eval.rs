//! `bench eval`: the sweep of penalties and the search for neighbours, on anybody's embeddings.

use std::time::Instant;

use anyhow::{Result, bail};
use byol_eval::{Embeddings, Probe, Standardize, nearest, nearest_others, penalties};
use serde_json::json;

use crate::cli::BenchEvalArgs;
use crate::compose::set_threads;
use crate::terminal::{Progress, say};

/// Rows whose neighbours are told in JSON, so that they can be compared.
const TOLD: usize = 200;

/// Times both, and says what came of them.
pub fn run(args: &BenchEvalArgs) -> Result<()> {
    set_threads(args.threads)?;
    let read = Embeddings::read(&args.embeddings)?;
    let of = |wanted: bool| {
        let is_test = |row: usize| read.infos[row].split.as_deref() == Some("test");
        (0..read.infos.len()).filter(move |row| is_test(*row) == wanted).collect::<Vec<usize>>()
    };
    let (train, test) = (of(false), of(true));
    if train.is_empty() {
        bail!("{}: there are no rows but those of `test`", args.embeddings.display());
    }
    let label = |row: &usize| read.infos[*row].label.and_then(|label| usize::try_from(label).ok());
    let labels: Option<Vec<usize>> = train.iter().map(label).collect();
    let Some(labels) = labels else {
        bail!("{}: a row has no label; the sweep needs one for each", args.embeddings.display())
    };
    let n_classes = labels.iter().max().map_or(1, |most| most + 1);
    let rows = read.features.pick(&train)?;
    let standard = Standardize::fit(&rows).apply(&rows);

    let spinner = Progress::spinner("45 penalties");
    let clock = Instant::now();
    let path = Probe::path(&standard, &labels, n_classes, &penalties(), args.tolerance)?;
    let sweep = clock.elapsed().as_secs_f64();
    spinner.finish();
    let iterations: usize = path.iter().map(|probe| probe.iterations).sum();

    let k = args.k as usize;
    let queries = if test.is_empty() { None } else { Some(read.features.pick(&test)?) };
    let clock = Instant::now();
    let neighbors = match &queries {
        Some(queries) => nearest(&rows, queries, k)?,
        None => nearest_others(&rows, k),
    };
    let search = clock.elapsed().as_secs_f64();
    let threads = rayon::current_num_threads();
    if args.json {
        let objectives: Vec<f64> = path.iter().map(|probe| probe.objective).collect();
        let told: Vec<Vec<usize>> =
            neighbors.iter().take(TOLD).map(|found| found.iter().map(|(row, _)| *row).collect()).collect();
        let value = json!({
            "rows": rows.len(),
            "dim": rows.dim(),
            "classes": n_classes,
            "threads": threads,
            "sweep": { "seconds": sweep, "iterations": iterations, "penalties": penalties(), "objectives": objectives },
            "knn": { "seconds": search, "queries": neighbors.len(), "k": k, "neighbors": told },
        });
        say(&value.to_string());
        return Ok(());
    }
    say(&format!("{} rows of {}, {n_classes} classes, {threads} threads", rows.len(), rows.dim()));
    say(&format!(
        "45 penalties to about {:.0e} of the objective: {sweep:.2} s, {iterations} iterations",
        args.tolerance
    ));
    say(&format!("{k} nearest of {} rows each: {search:.2} s", neighbors.len()));
    Ok(())
}
