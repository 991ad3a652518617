//! What the run's folder says of networks that learned further, and of other data sets.

use std::fmt::Write;

use serde_json::Value;

use super::chart::bars;
use super::html::escape;
use super::scores::{about, bar};
use crate::commands::runs::Run;
use crate::terminal::counted;

/// Bars of a network that learned from few labels, beside the same from scratch.
pub fn finetuned(runs: &[Run]) -> String {
    let mut out = String::new();
    for (i, run) in runs.iter().enumerate() {
        let Some(score) = run.scores.get("finetune") else { continue };
        for result in score["results"].as_array().into_iter().flatten() {
            let rows: Vec<_> = [
                ("fine-tuned", i % super::COLORS, result),
                ("from scratch", 5, &result["random_init"]),
                ("frozen, linear", 5, &result["linear"]),
            ]
            .into_iter()
            .filter_map(|(name, color, score)| bar(name, color, score))
            .collect();
            let of = if runs.len() > 1 { format!("{}: ", run.name) } else { String::new() };
            let title = format!(
                "{of}Learning from {} ({})",
                counted(result["n_labels"].as_u64().unwrap_or_default() as usize, "label"),
                result["labels"].as_str().unwrap_or_default()
            );
            out.push_str(&bars(&title, &rows));
        }
        let _ = write!(out, "<p class=\"soft\">{}</p>", escape(&about(score)));
    }
    out
}

/// A table of other sets.
pub fn transferred(runs: &[Run]) -> String {
    let mut out = String::new();
    for run in runs {
        let Some(score) = run.scores.get("transfer") else { continue };
        let of = if runs.len() > 1 { format!("{}: ", run.name) } else { String::new() };
        let _ = write!(
            out,
            "<h3>{}Other data sets</h3><div class=\"scroll\"><table class=\"sets\"><tr><th>set</th><th>measure</th>\
             <th>encoder</th><th>95 % interval</th><th>random init</th><th>BYOL R50</th><th>supervised R50</th>\
             <th>comparable</th></tr>",
            escape(&of)
        );
        for result in score["results"].as_array().into_iter().flatten() {
            let percent =
                |value: &Value| value.as_f64().map_or("–".into(), |x| format!("{:.2} %", 100.0 * x));
            let text = |value: &Value| escape(value.as_str().unwrap_or_default());
            let measure = if result["measure"] == "top1" { "top-1" } else { "mean per class" };
            let why = match result["why_not_comparable"].as_str() {
                Some(why) => format!("no: {}", escape(why)),
                None => "yes, if of ImageNet".into(),
            };
            let _ = write!(
                out,
                "<tr><td>{}{}</td><td>{measure}</td><td data-share=\"{}\">{}</td><td>{} to {}</td><td>{}</td><td>{}</td>\
                 <td>{}</td><td>{why}</td></tr>",
                text(&result["set"]),
                match result["duplicates"].as_u64() {
                    Some(n) if n > 0 => format!(" ({n} of {} test pictures teach, too)", result["n_test"]),
                    _ => String::new(),
                },
                result["score"],
                percent(&result["score"]),
                percent(&result["score_low"]),
                percent(&result["score_high"]),
                percent(&result["random_init"]["score"]),
                percent(&result["paper"]["byol"]),
                percent(&result["paper"]["supervised"]),
            );
        }
        let _ = write!(
            out,
            "</table></div><p class=\"soft\">{}. BYOL R50 and supervised R50: the paper's ResNet-50 of ImageNet at \
             224 pixels.</p>",
            escape(score["protocol"].as_str().unwrap_or_default())
        );
    }
    out
}
