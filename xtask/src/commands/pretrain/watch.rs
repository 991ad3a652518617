//! What watches a run from the outside.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use byol_model::Encoder;
use byol_train::{Observer, StepReport, TrainError, TrainState};

use crate::terminal::{Progress, tell};

/// Ends the run after the step that is being taken when Ctrl-C is pressed; at once when it is
/// pressed again.
#[derive(Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on.
    pub fn listen() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let flag = asked.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
            tell("stopping after this step, with a checkpoint; once more stops at once");
        })
        .context("listening for Ctrl-C")?;
        Ok(Self(asked))
    }
}

impl<E: Encoder> Observer<E> for Interrupt {
    fn step(&mut self, _: &StepReport, _: &TrainState<E>) -> Result<ControlFlow<()>, TrainError> {
        Ok(if self.0.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// The bar on a terminal; elsewhere it only remembers.
#[derive(Debug)]
pub struct Bar {
    progress: Progress,
    last: Option<StepReport>,
}

impl Bar {
    /// Of a run of so many steps, of which `done` are done.
    pub fn new(total: u64, done: u64) -> Self {
        let progress = Progress::steps(total);
        progress.set(done);
        Self { progress, last: None }
    }

    /// What the last step did.
    pub fn last(&self) -> Option<StepReport> {
        self.last
    }
}

impl<E: Encoder> Observer<E> for Bar {
    fn step(&mut self, report: &StepReport, _: &TrainState<E>) -> Result<ControlFlow<()>, TrainError> {
        self.last = Some(*report);
        self.progress.advance(1);
        if self.progress.is_visible() {
            self.progress.describe(format!(
                "epoch {:.1}  {:.0} img/s  loss {:.3}  waiting {:.0}%  z std {:.2}",
                report.epoch,
                report.images_per_second,
                report.loss,
                100.0 * report.data_wait,
                report.z_std,
            ));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, _: &TrainState<E>) -> Result<(), TrainError> {
        self.progress.finish();
        Ok(())
    }
}
