//! What the run's folder says of its scores.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use super::chart::{Bar, bars};
use super::html::escape;
use super::tuned;
use crate::commands::runs::Run;

/// Classes up to which each count is written.
const MOST_SHOWN: usize = 40;

/// Protocols by the names of their files.
const PROTOCOLS: [(&str, &str); 4] = [
    ("linear-lbfgs", "Linear probe, exact optimum"),
    ("linear-paper", "Linear evaluation as in the paper"),
    ("linear-paper-unaugmented", "Linear evaluation by SGD, without augmentation"),
    ("knn", "Nearest neighbours"),
];

/// All that any run was scored by: on its own pictures, then on others.
fn protocols(runs: &[Run]) -> Vec<(&str, String)> {
    let own = PROTOCOLS.map(|(protocol, title)| (protocol, title.to_owned()));
    let keys: BTreeSet<&str> = runs.iter().flat_map(|run| run.scores.keys().map(String::as_str)).collect();
    let title = |key: &str| {
        let (_, title) = PROTOCOLS.iter().find(|(known, _)| *known == key)?;
        Some(*title)
    };
    let others = keys.into_iter().filter(|key| title(key).is_none()).filter_map(|key| {
        let of = title(key.rsplit_once('-')?.0)?;
        Some((key, format!("{of}, on other pictures")))
    });
    own.into_iter().chain(others).collect()
}

pub fn section(runs: &[Run]) -> String {
    let mut out = String::new();
    for (protocol, title) in protocols(runs) {
        let mut rows = Vec::new();
        // Of which run, and what it says of how it came about.
        let mut words: Vec<(&str, String)> = Vec::new();
        let k =
            |score: &Value| score["details"]["k"].as_u64().map_or(String::new(), |k| format!(", k = {k}"));
        for (i, run) in runs.iter().enumerate() {
            let Some(score) = run.scores.get(protocol) else { continue };
            let own = if runs.len() > 1 { format!("{}{}", run.name, k(score)) } else { "encoder".into() };
            rows.extend(bar(&own, i % super::COLORS, score));
            if runs.len() == 1 {
                rows.extend(bar("random initialisation", 5, &score["random_init"]));
                rows.extend(bar("raw pixels", 5, &score["pixels"]));
            }
            words.push((&run.name, about(score)));
        }
        let Some((_, first)) = words.first() else { continue };
        let title = match runs {
            [one] => format!("{title}{}", k(&one.scores[protocol])),
            _ => title,
        };
        out.push_str(&bars(&title, &rows));
        if words.iter().all(|(_, of)| of == first) {
            let _ = write!(out, "<p class=\"soft\">{}</p>", escape(first));
        } else {
            let each = words.iter().map(|(run, of)| format!("{}: {}", escape(run), escape(of)));
            let each: Vec<String> = each.collect();
            let _ = write!(
                out,
                "<p><b>These are not the same tests.</b></p><p class=\"soft\">{}</p>",
                each.join("<br>")
            );
        }
    }
    out.push_str(&tuned::finetuned(runs));
    out.push_str(&tuned::transferred(runs));
    if out.is_empty() {
        let labelled = "There are none yet. Labelled pictures are scored by cargo xtask linear-eval, \
                        knn, finetune and transfer.";
        return format!("<section><h2>Scores</h2><p class=\"soft\">{labelled}</p></section>");
    }
    format!(
        "<section><h2>Scores</h2><p class=\"soft\">Top-1 on what is scored (the test set, or what stands for it), with 95 % Wilson intervals.</p>{out}\
         </section>"
    )
}

/// How a score came about.
pub fn about(score: &Value) -> String {
    format!(
        "{}; {}{} {} rows of {}{}",
        score["protocol"].as_str().unwrap_or_default(),
        score["n_train"].as_u64().map_or(String::new(), |n| format!("{n} training and ")),
        score["n_test"],
        score["split"].as_str().unwrap_or("test"),
        score["data"].as_str().unwrap_or("embeddings"),
        match score["duplicates"].as_u64() {
            Some(n) if n > 0 => format!(", {n} of them in both"),
            _ => String::new(),
        }
    )
}

/// Nothing where the score is not there.
pub fn bar(name: &str, color: usize, score: &Value) -> Option<Bar> {
    let of = |key: &str| score[key].as_f64();
    let interval = (of("top1_low")?, of("top1_high")?);
    Some(Bar { name: name.into(), color, share: of("top1")?, interval })
}

/// The confusion matrix of the first protocol that has one.
pub fn confusion(run: &Run) -> String {
    let found = PROTOCOLS.iter().find_map(|(protocol, title)| {
        let score = run.scores.get(*protocol)?;
        let counts: Vec<Vec<u64>> = serde_json::from_value(score["confusion"].clone()).ok()?;
        let names: Vec<String> = serde_json::from_value(score["classes"].clone()).ok()?;
        (counts.len() == names.len() && counts.len() > 1).then_some((title, counts, names))
    });
    let Some((title, counts, names)) = found else { return String::new() };
    let shown = counts.len() <= MOST_SHOWN;
    let mut out = format!(
        "<section><h2>What is taken for what</h2><p class=\"soft\">{title}: rows are what a picture is, columns what \
         it was taken for.</p><div class=\"scroll\"><table class=\"confusion\"><tr class=\"head\"><th></th>"
    );
    for name in &names {
        let _ = write!(out, "<th>{}</th>", if shown { escape(name) } else { String::new() });
    }
    out.push_str("</tr>");
    for (label, (row, name)) in counts.iter().zip(&names).enumerate() {
        let of: u64 = row.iter().sum();
        let right =
            if of > 0 { format!("{:.0} %", 100.0 * row[label] as f64 / of as f64) } else { "–".into() };
        let _ = write!(out, "<tr><td>{} <span class=\"soft\">{right}</span></td>", escape(name));
        for n in row {
            let share = *n as f64 / of.max(1) as f64;
            let text = if shown && *n > 0 { n.to_string() } else { String::new() };
            let _ = write!(
                out,
                "<td style=\"background:rgba(var(--heat),{:.3})\">{text}</td>",
                0.85 * share.sqrt()
            );
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div></section>");
    out
}
