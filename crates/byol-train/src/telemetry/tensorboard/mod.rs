//! Events that TensorBoard reads.

mod proto;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use byol_model::{Encoder, Role, named_tensors};
use prost::Message;
use serde_json::Value as Json;

use self::proto::{Content, Event, Histogram, Image, SessionLog, Summary, Value, What};
use super::records::Records;
use crate::{MEASURE_EVERY, Observer, RunPlan, Seen, TrainError, TrainState};

/// Points of a curve, about, at most.
const POINTS: u64 = 10_000;
/// Instants of a run at which histograms are taken, unless it is shorter.
const HISTOGRAMS: u64 = 20;

/// Writes what [`JsonLines`](crate::JsonLines) writes as TensorBoard events, with histograms
/// of parameters and projections, and pictures that it is given.
///
/// As there, a disk that fails does not end the run.
#[derive(Debug)]
pub struct TensorBoard {
    events: Records,
    pictures: Vec<(String, [u32; 2], Vec<u8>)>,
}

impl TensorBoard {
    /// A new file in `folder`: a run that goes on has one for each time.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub fn create(folder: &Path) -> Result<Self, TrainError> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut nth = 0;
        loop {
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.{nth:03}.byol"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Self { events: Records::new(file, path, 0), pictures: Vec::new() });
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists && nth < 999 => nth += 1,
                Err(e) => return Err(TrainError::File { action: "creating", path, why: e.to_string() }),
            }
        }
    }

    /// Adds a picture to the first event: PNG of this width and height.
    #[must_use]
    pub fn with_picture(mut self, tag: &str, size: [u32; 2], png: Vec<u8>) -> Self {
        self.pictures.push((tag.into(), size, png));
        self
    }

    /// The first thing that went wrong, and how many events were lost.
    pub fn problem(&self) -> Option<(&TrainError, u64)> {
        self.events.problem()
    }

    fn event(&mut self, step: u64, what: What) {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let event = Event { wall_time, step: step.cast_signed(), what: Some(what) };
        self.events.write(&record(&event.encode_to_vec()));
    }
}

/// Length and content, each with its checksum (TensorFlow's record format).
fn record(content: &[u8]) -> Vec<u8> {
    let masked =
        |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (content.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), content, &masked(content)].concat()
}

/// The panel of a number: what is before the `/` of a tag is one.
fn panel(key: &str) -> &'static str {
    match key {
        "loss" | "loss_v" | "loss_v_prime" => "loss",
        "z_std" | "rank" | "cosine" | "constant_cosine" => "representation",
        "lr" | "tau" | "gradient_norm" | "parameter_norm" | "trust_ratio" => "optimizer",
        "images_per_second" | "data_wait" | "observing" | "memory_bytes" | "epoch" => "progress",
        _ => "score",
    }
}

/// Numbers of a step by tag: `rank` is `representation/rank`, and of several of a kind each
/// has its name behind it, `optimizer/trust_ratio_min`.
fn scalars(report: &Json) -> Vec<Value> {
    let mut found = Vec::new();
    let mut add = |tag: String, number: &Json| {
        if let Some(number) = number.as_f64() {
            found.push(Value { tag, value: Some(Content::SimpleValue(number as f32)) });
        }
    };
    for (key, value) in report.as_object().into_iter().flatten().filter(|(key, _)| *key != "step") {
        match value {
            Json::Object(several) => {
                for (name, value) in several {
                    add(format!("{}/{key}_{name}", panel(key)), value);
                }
            }
            one => add(format!("{}/{key}", panel(key)), one),
        }
    }
    found
}

/// Weights by the first two parts of their names, and projections.
fn histograms<E: Encoder>(seen: &Seen<'_, E>) -> Vec<Value> {
    let mut groups: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for tensor in named_tensors(&seen.state.byol.online) {
        if tensor.role == Role::Weight {
            let parts: Vec<&str> = tensor.name.split('.').take(2).collect();
            groups.entry(parts.join("/")).or_default().extend(tensor.values);
        }
    }
    // Cannot fail: projections are f32.
    let z: Vec<f32> = seen.batch.projection.clone().into_data().try_into_vec().unwrap_or_default();
    groups.insert("projections".into(), z);
    let histogram = |(tag, values): (String, Vec<f32>)| {
        let histogram = Histogram::of(values.iter().map(|x| f64::from(*x)))?;
        Some(Value { tag, value: Some(Content::Histo(histogram)) })
    };
    groups.into_iter().filter_map(histogram).collect()
}

impl<E: Encoder> Observer<E> for TensorBoard {
    fn start(&mut self, _: &RunPlan, state: &TrainState<E>) -> Result<(), TrainError> {
        self.event(state.step, What::FileVersion("brain.Event:2".into()));
        if state.step > 0 {
            // What an earlier process wrote behind its last checkpoint did not happen.
            self.event(state.step + 1, What::SessionLog(SessionLog { status: 1 }));
        }
        let picture = |(tag, [width, height], png): (String, [u32; 2], Vec<u8>)| {
            let [width, height] = [width, height].map(u32::cast_signed);
            let image = Image { height, width, colorspace: 3, encoded_image_string: png };
            Value { tag, value: Some(Content::Image(image)) }
        };
        let value: Vec<Value> = std::mem::take(&mut self.pictures).into_iter().map(picture).collect();
        if !value.is_empty() {
            self.event(state.step, What::Summary(Summary { value }));
        }
        Ok(())
    }

    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        let (step, total) = (seen.report.step, seen.plan.total_steps);
        let whole = seen.report.measured.is_some() || !seen.report.extra.is_empty();
        let mut value = Vec::new();
        if (whole || seen.report.span > 0 && step.is_multiple_of((total / POINTS).max(1)))
            && let Some(news) = seen.report.news()
        {
            value = scalars(&news);
        }
        if step == 1 || step.is_multiple_of((total / HISTOGRAMS).max(MEASURE_EVERY)) {
            value.extend(histograms(seen));
        }
        if !value.is_empty() {
            self.event(step, What::Summary(Summary { value }));
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of TensorFlow's writer: the first one of every event file.
    #[test]
    fn records_are_tensorflows() {
        let event = Event { wall_time: 1.5, step: 0, what: Some(What::FileVersion("brain.Event:2".into())) };
        let bytes = record(&event.encode_to_vec());
        assert_eq!(bytes[..8], 24u64.to_le_bytes());
        assert_eq!(bytes[12..24], [9, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x1a, 13, b'b']);
        assert_eq!(bytes.len(), 8 + 4 + 24 + 4);
        // CRC-32C of RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn numbers_have_their_panels() {
        let json =
            serde_json::json!({ "step": 3, "loss": 0.5, "trust_ratio": { "min": 2.0 }, "knn_top1": 0.1 });
        let found = scalars(&json);
        let tags: Vec<_> = found.iter().map(|v| v.tag.as_str()).collect();
        assert_eq!(tags, ["score/knn_top1", "loss/loss", "optimizer/trust_ratio_min"]);
    }
}
