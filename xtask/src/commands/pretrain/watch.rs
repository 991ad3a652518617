//! What watches a run from the outside.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use byol_model::Encoder;
use byol_train::{MEASURE_EVERY, Observer, RunPlan, Seen, StepReport, TrainError, TrainState};

use crate::memory;
use crate::terminal::{Progress, tell};

/// Ends the run after the step that is being taken when Ctrl-C is pressed; at once when it is
/// pressed again.
#[derive(Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on; one of several processes says so.
    pub fn listen(says: bool) -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let flag = asked.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            if says {
                tell("stopping after this step, with a checkpoint; once more stops at once");
            }
        })
        .context("listening for Ctrl-C")?;
        Ok(Self(asked))
    }
}

impl<E: Encoder> Observer<E> for Interrupt {
    fn step(&mut self, _: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        Ok(if self.0.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// Adds the memory of the process to what is measured.
#[derive(Debug)]
pub struct Memory;

impl<E: Encoder> Observer<E> for Memory {
    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        if seen.report.step.is_multiple_of(MEASURE_EVERY)
            && let Some(bytes) = memory::resident()
        {
            seen.report.extra.insert("memory_bytes".into(), bytes as f64);
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// The bar on a terminal; a line every half minute elsewhere.
#[derive(Debug)]
pub struct Bar {
    progress: Progress,
    lines: bool,
    said: Instant,
    last: Option<StepReport>,
    knn: Option<f64>,
    waiting: f64,
    steps: u64,
}

impl Bar {
    /// Of a run of so many steps, of which `done` are done; `lines` says whether any are
    /// wanted where there is no terminal.
    pub fn new(total: u64, done: u64, lines: bool) -> Self {
        let progress = Progress::steps(total);
        progress.set(done);
        Self { progress, lines, said: Instant::now(), last: None, knn: None, waiting: 0.0, steps: 0 }
    }

    /// What the last step did.
    pub fn last(&self) -> Option<&StepReport> {
        self.last.as_ref()
    }

    /// The last nearest-neighbour score.
    pub fn knn(&self) -> Option<f64> {
        self.knn
    }

    /// Share of the time waiting for views, over all steps.
    pub fn data_wait(&self) -> f64 {
        self.waiting / self.steps.max(1) as f64
    }

    fn line(&self, report: &StepReport) -> String {
        let knn = self.knn.map_or(String::new(), |knn| format!("  kNN {:.1}%", 100.0 * knn));
        format!(
            "epoch {:.1}  {:.0} img/s  loss {:.3}  waiting {:.0}%  z std {:.2}{knn}",
            report.epoch,
            report.images_per_second,
            report.loss,
            100.0 * report.data_wait,
            report.z_std,
        )
    }
}

impl<E: Encoder> Observer<E> for Bar {
    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        let report = &*seen.report;
        self.knn = report.extra.get("knn_top1").copied().or(self.knn);
        self.waiting += report.data_wait;
        self.steps += 1;
        self.progress.set(report.step);
        self.progress.set_length(seen.plan.total_steps);
        if self.progress.is_visible() {
            self.progress.describe(self.line(report));
        } else if self.lines && self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            tell(&format!("step {}/{}  {}", report.step, seen.plan.total_steps, self.line(report)));
        }
        self.last = Some(report.clone());
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, _: &RunPlan, _: &TrainState<E>) -> Result<(), TrainError> {
        self.progress.finish();
        Ok(())
    }
}
