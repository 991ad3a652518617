//! How features become predictions.

use anyhow::Result;
use byol_eval::{
    Features, KnnConfig, LinearConfig, Ranked, linear_probe, logistic_probe, nearest, nearest_others,
    penalties, vote,
};
use serde_json::{Value, json};

use super::rows::Rows;

/// A protocol, with all that it must know.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// Logistic regression at its optimum.
    Optimum,
    /// The paper's stochastic gradient descent, on representations that stay the same unless
    /// `augment`.
    Paper { config: LinearConfig, augment: bool, seed: u64 },
    /// Neighbours, several k.
    Knn { ks: Vec<usize>, temperature: f64 },
}

/// Predictions of the test rows, and how they came about.
pub struct Predicted {
    pub ranked: Ranked,
    pub details: Value,
}

impl Protocol {
    /// For the names of files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Optimum => "linear-lbfgs",
            Self::Paper { augment: true, .. } => "linear-paper",
            Self::Paper { augment: false, .. } => "linear-paper-unaugmented",
            Self::Knn { .. } => "knn",
        }
    }

    /// In words.
    pub fn describe(&self, rows: &Rows) -> String {
        match self {
            Self::Optimum => format!(
                "multinomial logistic regression on standardised y at the optimum of mean loss + penalty / 2 · ‖W‖²; \
                 penalty chosen on {}, refitted on all",
                rows.choice
            ),
            Self::Paper { config, augment, .. } => format!(
                "linear classifier on y by SGD, Nesterov momentum {}, {} epochs of batches of {}, {}; learning rate \
                 chosen on {}, of those that learned from all",
                config.momentum,
                config.epochs,
                config.batch,
                if *augment { "random crops and flips" } else { "no augmentation" },
                rows.choice
            ),
            Self::Knn { ks, temperature } => {
                let all = rows.train.len() - usize::from(rows.test.is_none());
                let ks: Vec<String> = ks.iter().map(|k| (*k).min(all).to_string()).collect();
                let others = if rows.test.is_none() { ", each row by all others" } else { "" };
                format!(
                    "{} nearest neighbours by cosine of y, votes exp(similarity / {temperature}){others}",
                    ks.join(", ")
                )
            }
        }
    }

    /// What these features say of the test rows; of several k one after the other.
    pub fn classify(&self, train: &Features, test: Option<&Features>, rows: &Rows) -> Result<Vec<Predicted>> {
        let n_classes = rows.n_classes;
        match (self, test) {
            (Self::Optimum, Some(test)) => {
                let (probe, report) =
                    logistic_probe(train, &rows.train, &rows.held_out, n_classes, &penalties())?;
                let details = json!({ "penalty": report.penalty, "choice": report });
                Ok(vec![Predicted { ranked: probe.predict(test)?, details }])
            }
            (Self::Paper { config, seed, .. }, Some(test)) => {
                let (probe, report) =
                    linear_probe(train, &rows.train, &rows.held_out, n_classes, config.clone(), *seed)?;
                let details = json!({ "rate": report.rate, "seed": seed, "choice": report });
                Ok(vec![Predicted { ranked: probe.predict(test)?, details }])
            }
            (Self::Knn { ks, temperature }, test) => {
                let config = |k: usize| KnnConfig { k, temperature: *temperature, n_classes };
                if test.is_none() && train.len() < 2 {
                    anyhow::bail!("one row with a label: there is no other to compare it with");
                }
                let most = ks.iter().copied().max().unwrap_or(1);
                let neighbors = match test {
                    Some(test) => nearest(train, test, most)?,
                    None => nearest_others(train, most),
                };
                let of = |k: &usize| {
                    let ranked = vote(&neighbors, &rows.train, config(*k))?;
                    let there = train.len() - usize::from(test.is_none());
                    let details = json!({ "k": (*k).min(there), "temperature": temperature });
                    Ok(Predicted { ranked, details })
                };
                ks.iter().map(of).collect()
            }
            (Self::Optimum | Self::Paper { .. }, None) => {
                anyhow::bail!("there are no test rows to score")
            }
        }
    }
}
