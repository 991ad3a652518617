//! Pictures out of shards into batches of bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use byol_data::ingest::{IngestOptions, ingest};
use byol_data::{
    Cursor, DataError, Decoded, ImageDataset, Limits, Loader, LoaderConfig, OpenOptions, Partition, decode,
};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use rayon::prelude::*;
use serde_json::json;

use crate::cli::BenchDataArgs;
use crate::compose::Source;
use crate::memory;
use crate::terminal::{Progress, say};

/// Repeats, of which the median counts.
const REPEATS: usize = 5;

/// Seconds that a repeat takes at least, also where thousands of pictures take milliseconds.
const REPEAT_SECONDS: f64 = 0.5;

/// Bytes of pictures that are kept for the work without a loader.
const MAX_BARE: usize = 48 << 20;

/// What is done with each picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Read,
    Decode,
    Resize,
}

/// What a batch's slots are.
#[derive(Debug, Clone, Copy)]
struct Slot {
    width: usize,
    height: usize,
    channels: usize,
}

/// Measures the loader, the stages, and the same work without a loader.
pub fn run(args: &BenchDataArgs) -> Result<()> {
    let opened = Opened::of(args)?;
    let set = opened.set.clone();
    let slot = slot(&set, args.size)?;
    let batch = (args.batch as usize).min(set.len());
    let threads = usize::from(args.threads);
    let per_epoch = (set.len() / batch) as u64;
    let spinner = Progress::spinner("measuring");
    let rate = |work: Work, pictures: u64| -> Result<f64> {
        streamed(&set, slot, work, batch, pictures.div_ceil(batch as u64).max(1), threads)
    };
    // The whole and the bare work by turns, so that both meet the same machine.
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    let work = if args.size == 0 { Work::Decode } else { Work::Resize };
    let in_memory = some_of(&set, args.pictures)?;
    // Not counted: it warms the caches and says how many pictures a repeat needs.
    let pictures = args.pictures.max((rate(work, args.pictures)? * REPEAT_SECONDS) as u64);
    let order = order(&set, batch, pictures)?;
    for _ in 0..REPEATS {
        whole.push(rate(work, pictures)?);
        bare.push(without(&in_memory, &order, slot, work, threads)?);
    }
    let (whole, bare) = (median(whole), median(bare));
    let of_stage = |work| -> Result<f64> {
        Ok(1.0 / median((0..3).map(|_| rate(work, pictures)).collect::<Result<_>>()?))
    };
    let read = of_stage(Work::Read)?;
    let decoded = of_stage(Work::Decode)?;
    let resized = if args.size == 0 { decoded } else { of_stage(Work::Resize)? };
    spinner.finish();
    let stages =
        json!({ "read": read, "decode": (decoded - read).max(0.0), "resize": (resized - decoded).max(0.0) });
    if args.json {
        let result = json!({
            "images_per_second": whole,
            "threads": threads,
            "peak_memory_bytes": memory::peak(),
            "stages": stages,
            "bare_images_per_second": bare,
            "overhead": bare / whole - 1.0,
            "size": args.size,
            "batch": batch,
            "samples": set.len(),
            "batches_per_epoch": per_epoch,
            "in_memory": set.in_memory(),
        });
        say(&result.to_string());
    } else {
        let size = if args.size == 0 { "kept".into() } else { format!("{0}x{0}", args.size) };
        say(&format!(
            "{} pictures, size {size}, batches of {batch}, {threads} thread(s), {}, median of {REPEATS}",
            set.len(),
            if set.in_memory() { "set in memory" } else { "read piece by piece" },
        ));
        say(&format!("loader              {whole:>9.0} images/s"));
        say(&format!(
            "bare, no loader     {bare:>9.0} images/s ({:+.1} % by the loader)",
            100.0 * (bare / whole - 1.0)
        ));
        for (name, seconds) in [("read", read), ("decode", decoded - read), ("resize", resized - decoded)] {
            say(&format!("  {name:<17} {:>9.1} us a picture, all threads", seconds * 1e6));
        }
        say(&format!("peak memory         {:>9.0} MB", memory::peak().unwrap_or_default() as f64 / 1e6));
    }
    Ok(())
}

/// Pictures from all over the set, as many as the memory of a window holds.
fn some_of(set: &ImageDataset, n: u64) -> Result<Vec<Vec<u8>>> {
    let step = (set.len() as u64).div_ceil(n.min(set.len() as u64)).max(1) as usize;
    let (mut pictures, mut bytes) = (Vec::new(), 0);
    for index in (0..set.len()).step_by(step) {
        let picture = set.sample(index)?.bytes().to_vec();
        bytes += picture.len();
        if bytes > MAX_BARE && !pictures.is_empty() {
            break;
        }
        pictures.push(picture);
    }
    Ok(pictures)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A set, and the folder that it was made in if it was a folder of pictures.
struct Opened {
    set: Arc<ImageDataset>,
    made: Option<PathBuf>,
}

impl Opened {
    fn of(args: &BenchDataArgs) -> Result<Self> {
        let source = Source::from_flag(args.data.as_deref())?;
        let mut options = OpenOptions::default();
        if args.stream {
            options.in_memory = 0;
        }
        let no_shards = matches!(&source, Source::Folder(path) if byol_data::split_names(path)?.is_empty());
        let (Source::Folder(path), true) = (&source, no_shards) else {
            return Ok(Self { set: Arc::new(source.open_with("train", &options)?), made: None });
        };
        let made = std::env::temp_dir().join(format!("byol-bench-data-{}", std::process::id()));
        let set = made_of(path, &made, &options);
        match set {
            Ok(set) => Ok(Self { set: Arc::new(set), made: Some(made) }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&made);
                Err(error)
            }
        }
    }
}

fn made_of(pictures: &Path, to: &Path, options: &OpenOptions) -> Result<ImageDataset> {
    let spinner = Progress::spinner("packing the pictures");
    ingest(pictures, to, &IngestOptions::STANDARD, |_, _| {})?;
    spinner.finish();
    Ok(ImageDataset::open_with(to, "train", options)?)
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(made) = &self.made {
            let _ = std::fs::remove_dir_all(made);
        }
    }
}

fn slot(set: &ImageDataset, size: usize) -> Result<Slot> {
    let channels = byol_train::set_channels(set)?;
    if size > 0 {
        if channels != 1 && channels != 3 {
            bail!("pictures of {channels} channels cannot be resized here; --size 0 keeps their size");
        }
        return Ok(Slot { width: size, height: size, channels });
    }
    let first = decode(set.sample(0)?.bytes(), channels, Limits::STANDARD)?;
    Ok(Slot { width: first.width, height: first.height, channels })
}

/// Pictures a second through the loader.
fn streamed(
    set: &Arc<ImageDataset>,
    slot: Slot,
    work: Work,
    batch: usize,
    n_batches: u64,
    threads: usize,
) -> Result<f64> {
    let config = LoaderConfig {
        seed: 0,
        batch,
        partition: Partition::WHOLE,
        start: Cursor::default(),
        n_batches,
        parts: 1,
        threads,
        prefetch: 2,
    };
    let start = Instant::now();
    let length = slot.width * slot.height * slot.channels;
    let mut loader = Loader::<1, u8>::start(set.clone(), config, length, move |set, index, _, [out]| {
        let sample = set.sample(index)?;
        done(sample.bytes(), slot, work, out).map_err(|e| set.picture_error(index, &e))
    })?;
    let mut n = 0;
    while let Some(batch) = loader.next() {
        let batch = batch?;
        n += batch.samples.len();
        loader.recycle(batch);
    }
    Ok(n as f64 / start.elapsed().as_secs_f64())
}

/// Numbers of `n` pictures or a few more, in the loader's order.
fn order(set: &ImageDataset, batch: usize, n: u64) -> Result<Vec<usize>> {
    let mut order = Vec::new();
    for epoch in 0.. {
        let plan = set.epoch(0, epoch, batch)?;
        order.extend((0..plan.n_batches()).flat_map(|k| plan.batch(k, Partition::WHOLE)));
        if order.len() as u64 >= n {
            break;
        }
    }
    Ok(order)
}

/// Pictures a second of the same work without a loader: the same order and as fresh
/// threads, but pictures that lie in memory, and one slot a thread for all of them.
fn without(in_memory: &[Vec<u8>], order: &[usize], slot: Slot, work: Work, threads: usize) -> Result<f64> {
    let start = Instant::now();
    let length = slot.width * slot.height * slot.channels;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let picture = |sample: usize| &in_memory[sample % in_memory.len()];
    pool.install(|| {
        order
            .par_iter()
            .map_init(|| vec![0; length], |out, &sample| done(picture(sample), slot, work, out))
            .collect::<Result<(), DataError>>()
    })?;
    Ok(order.len() as f64 / start.elapsed().as_secs_f64())
}

fn done(bytes: &[u8], slot: Slot, work: Work, out: &mut [u8]) -> Result<(), DataError> {
    if work == Work::Read {
        out[0] = bytes.iter().fold(0, |sum, byte| sum ^ byte); // touched, that is read
        return Ok(());
    }
    let picture = decode(bytes, slot.channels, Limits::STANDARD)?;
    if work == Work::Decode && (picture.width, picture.height) != (slot.width, slot.height) {
        std::hint::black_box(&picture.data);
        return Ok(());
    }
    if (picture.width, picture.height) == (slot.width, slot.height) {
        out.copy_from_slice(&picture.data);
        return Ok(());
    }
    resize(&picture, slot, out).map_err(|e| DataError::Sample(format!("{e:#}")))
}

fn resize(picture: &Decoded, slot: Slot, out: &mut [u8]) -> Result<()> {
    thread_local! {
        static RESIZER: std::cell::RefCell<Resizer> = std::cell::RefCell::new(Resizer::new());
    }
    let kind = if slot.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = ImageRef::new(picture.width as u32, picture.height as u32, &picture.data, kind)?;
    let mut target = Image::from_slice_u8(slot.width as u32, slot.height as u32, out, kind)?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize(&source, &mut target, &options))
        .context("resizing a picture")
}
