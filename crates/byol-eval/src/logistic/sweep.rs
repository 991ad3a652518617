//! The choice of a penalty.

use super::design::Design;
use super::minimize::minimize;
use super::problem::Problem;
use super::{CHOICE_TOLERANCE, Probe, TOLERANCE, check};
use crate::{EvalError, Features, Ranked, Standardize};

/// A probe on standardised features.
#[derive(Debug, Clone)]
pub struct ChosenProbe {
    standardize: Standardize,
    probe: Probe,
}

impl ChosenProbe {
    /// Classes of the rows, most probable first.
    ///
    /// # Errors
    ///
    /// If the rows have another length than those of the fit.
    pub fn predict(&self, test: &Features) -> Result<Ranked, EvalError> {
        self.probe.check_dim(test)?;
        self.probe.predict(&self.standardize.apply(test))
    }
}

/// How a probe was made.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ProbeReport {
    /// The penalties that were tried, from strong to weak.
    pub penalties: Vec<f64>,
    /// Top-1 of each on the held-out training rows.
    pub held_out_top1: Vec<f64>,
    /// Mean cross-entropy of each there.
    pub held_out_loss: Vec<f64>,
    /// Rows that were held out.
    pub n_held_out: usize,
    /// The penalty that was chosen; all training rows were then used with it.
    pub penalty: f64,
    /// What the final fit's objective may still be above its minimum, as estimated.
    pub excess: f64,
}

/// The 45 penalties of the paper's transfer protocol (Grill et al. 2020, D.2), log-spaced from
/// 1e5 down to 1e-6, here on the mean over rows as in [`Probe`](super::Probe).
pub fn penalties() -> Vec<f64> {
    (0..45).map(|i| 10f64.powf(5.0 - f64::from(i) / 4.0)).collect()
}

/// Multinomial logistic regression on features that are standardised by the training rows: the
/// penalty is the best of `penalties` by top-1 (among equals by cross-entropy) on the training rows where
/// `held_out` is true, fitted without them; the probe is fitted again on all training rows. No
/// test row has a part in it.
///
/// # Errors
///
/// If rows and labels do not belong together, all rows or none are held out, or there is no
/// penalty.
pub fn logistic_probe(
    train: &Features,
    labels: &[usize],
    held_out: &[bool],
    n_classes: usize,
    penalties: &[f64],
) -> Result<(ChosenProbe, ProbeReport), EvalError> {
    train.check_labels(labels, "train")?;
    check(labels, n_classes, penalties)?;
    let rows = |held: bool| (0..labels.len()).filter(move |row| held_out.get(*row) == Some(&held));
    let (fit, choice): (Vec<usize>, Vec<usize>) = (rows(false).collect(), rows(true).collect());
    if fit.is_empty() || choice.is_empty() || held_out.len() != labels.len() {
        return Err(EvalError::Disagree(format!(
            "{} labelled training rows, of which {} choose the penalty: it needs some that do and some that \
             do not",
            labels.len(),
            choice.len()
        )));
    }
    let standardize = Standardize::fit(train);
    let train = standardize.apply(train);
    // Rows that choose come last, so that a fit is on the first rows.
    let order: Vec<usize> = fit.iter().chain(&choice).copied().collect();
    let ordered: Vec<usize> = order.iter().map(|row| labels[*row]).collect();
    let design = Design::new(&train.pick(&order)?);
    let choice_rows = train.pick(&choice)?;
    let choice_labels = &ordered[fit.len()..];

    let (mut held_out_top1, mut held_out_loss) = (Vec::new(), Vec::new());
    let mut best: Option<(f64, (f64, f64), Vec<f64>)> = None;
    let mut last: Option<Vec<f64>> = None;
    for &penalty in penalties {
        let problem = Problem { design: &design, labels: &ordered[..fit.len()], n_classes, penalty };
        let fitted = minimize(&problem, last.take(), CHOICE_TOLERANCE);
        let probe = design.probe(&fitted, n_classes);
        let predicted = probe.predict(&choice_rows)?;
        let right = predicted.iter().zip(choice_labels).filter(|(classes, label)| classes[0] == **label);
        let top1 = right.count() as f64 / choice_labels.len() as f64;
        let loss = probe.loss(&choice_rows, choice_labels);
        held_out_top1.push(top1);
        held_out_loss.push(loss);
        if best.as_ref().is_none_or(|(_, (most, least), _)| top1 > *most || (top1 == *most && loss < *least))
        {
            best = Some((penalty, (top1, loss), fitted.at.clone()));
        }
        last = Some(fitted.at);
    }
    let Some((penalty, _, start)) = best else {
        return Err(EvalError::Disagree("no penalty to choose from".into()));
    };
    let problem = Problem { design: &design, labels: &ordered, n_classes, penalty };
    let fitted = minimize(&problem, Some(start), TOLERANCE);
    let probe = design.probe(&fitted, n_classes);
    let report = ProbeReport {
        penalties: penalties.into(),
        held_out_top1,
        held_out_loss,
        n_held_out: choice.len(),
        penalty,
        excess: fitted.excess,
    };
    Ok((ChosenProbe { standardize, probe }, report))
}
