use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use byol_data::write_atomic;
use byol_model::Encoder;

use super::Checkpoint;
use crate::{Observer, RunDir, RunPlan, Seen, TrainError, TrainState};

/// When checkpoints are written, and which of them stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointRules {
    /// After every so many steps.
    pub steps: Option<u64>,
    /// After so long since the last one.
    pub time: Option<Duration>,
    /// How many of the last ones stay, at least 1.
    pub keep_last: usize,
    /// Those of steps that this divides stay for good.
    pub keep_every: Option<u64>,
}

/// Writes checkpoints: the step waits for the copy of the tensors, not for the disk. The last
/// step's is written in any case, also of a run that is broken off.
#[derive(Debug)]
pub struct Checkpoints {
    run: RunDir,
    rules: CheckpointRules,
    last: Instant,
    written: Option<u64>,
    writer: Option<JoinHandle<Result<(), TrainError>>>,
}

impl Checkpoints {
    /// Into the run's folder.
    pub fn new(run: &RunDir, rules: CheckpointRules) -> Self {
        Self { run: run.clone(), rules, last: Instant::now(), written: None, writer: None }
    }

    fn write<E: Encoder>(&mut self, plan: &RunPlan, state: &TrainState<E>) -> Result<(), TrainError> {
        let checkpoint = Checkpoint::of(plan, state);
        if let Some(name) = checkpoint.spoiled() {
            return Err(TrainError::Spoiled { name: name.into() });
        }
        self.done()?;
        let (run, rules) = (self.run.clone(), self.rules);
        let work = move || {
            let path = run.checkpoint_path(checkpoint.step);
            let folder = path.parent().unwrap_or(Path::new(".")); // it has one
            fs::create_dir_all(folder).map_err(|e| TrainError::File {
                action: "making",
                path: folder.into(),
                why: e.to_string(),
            })?;
            write_atomic(&path, &checkpoint.to_bytes()?)?;
            prune(&run.checkpoints(), checkpoint.step, rules);
            Ok(())
        };
        let spawned = std::thread::Builder::new().name("checkpoint".into()).spawn(work);
        self.writer = Some(spawned.map_err(|e| TrainError::File {
            action: "starting a thread to write",
            path: self.run.path().into(),
            why: e.to_string(),
        })?);
        (self.last, self.written) = (Instant::now(), Some(state.step));
        Ok(())
    }

    /// Waits for what is being written.
    fn done(&mut self) -> Result<(), TrainError> {
        match self.writer.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(TrainError::File {
                action: "writing a checkpoint in",
                path: self.run.path().into(),
                why: "its thread has panicked".into(),
            }),
        }
    }
}

/// Removes what the rules do not keep of the checkpoints up to `step`: later ones are those of
/// the same run before it was taken back. What cannot be removed stays.
fn prune(checkpoints: &[(u64, PathBuf)], step: u64, rules: CheckpointRules) {
    let there = checkpoints.iter().take_while(|(of, _)| *of <= step).count();
    let old = there.saturating_sub(rules.keep_last.max(1));
    for (step, path) in &checkpoints[..old] {
        if !rules.keep_every.is_some_and(|every| every > 0 && step.is_multiple_of(every)) {
            let _ = fs::remove_file(path);
        }
    }
}

impl<E: Encoder> Observer<E> for Checkpoints {
    fn start(&mut self, _: &RunPlan, state: &TrainState<E>) -> Result<(), TrainError> {
        self.last = Instant::now();
        self.written = (state.step > 0).then_some(state.step);
        Ok(())
    }

    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        let by_step = self.rules.steps.is_some_and(|n| n > 0 && seen.state.step.is_multiple_of(n));
        let by_time = self.rules.time.is_some_and(|time| self.last.elapsed() >= time);
        if by_step || by_time {
            self.write(seen.plan, seen.state)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self, plan: &RunPlan, state: &TrainState<E>) -> Result<(), TrainError> {
        if self.written != Some(state.step) {
            self.write(plan, state)?;
        }
        self.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_before_is_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<(u64, PathBuf)> =
            [10, 20, 30, 45, 50, 90].map(|step| (step, folder.path().join(step.to_string()))).into();
        all.iter().for_each(|(_, path)| fs::write(path, "").unwrap());
        // At step 50 of a run that was taken back from 90.
        prune(&all, 50, CheckpointRules { steps: None, time: None, keep_last: 2, keep_every: Some(20) });
        let left: Vec<u64> = all.iter().filter(|(_, path)| path.exists()).map(|(step, _)| *step).collect();
        assert_eq!(left, [20, 45, 50, 90]);
    }
}
