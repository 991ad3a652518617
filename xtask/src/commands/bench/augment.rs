//! Two views of each source picture: from JPEG bytes in memory to 224 pixels, or
//! from small arrays, one thread or several; beside it what each stage takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use byol_augment::{
    Op, OpKind, Path as Instructions, Pixels, ResolvedPolicy, Semantics, TwoViewPolicy, ViewKey, ViewParams,
    Workspace,
};
use byol_data::{Decoded, Limits, decode};
use image::imageops::{self, FilterType};
use serde_json::{Value, json};

use crate::cli::BenchAugmentArgs;
use crate::memory;
use crate::terminal::Progress;

/// Pictures in memory, as in the peers' script.
const PICTURES: usize = 500;
/// Views up to this size are made of small arrays, without decoding and blur.
const SMALL: usize = 64;
/// Repeats, of which the median counts.
const REPEATS: usize = 5;

/// A source picture.
enum Source {
    Encoded(Vec<u8>),
    Array(Decoded),
}

/// Measures every path and both semantics, and prints a table.
pub fn run(args: &BenchAugmentArgs) -> Result<()> {
    let sources = sources(&args.photos, args)?;
    let seconds = Duration::from_secs_f64(f64::from(args.seconds) / REPEATS as f64);
    let threads = usize::from(args.threads);
    let mut cases = Vec::new();
    let spinner = Progress::spinner("measuring");
    for semantics in [Semantics::Torchvision, Semantics::Paper] {
        let policy = policy(semantics, args)?;
        for path in Instructions::ALL.into_iter().rev().filter(|path| path.is_available()) {
            if path == Instructions::Portable && !args.portable && path != Instructions::best() {
                continue;
            }
            let whole = rate(&sources, Some(&policy), path, threads, seconds)?;
            let mut case = json!({
                "name": format!("{} {}", semantics_name(semantics), path.name()),
                "semantics": semantics_name(semantics),
                "path": path.name(),
                "images_per_second": whole,
                "threads": threads,
            });
            if path == Instructions::best() {
                case["stages"] = stages(&sources, &policy, path, seconds)?;
            }
            cases.push(case);
        }
    }
    spinner.finish();
    let best = cases.first().map_or(Value::Null, |case| case["images_per_second"].clone());
    let stages = cases.first().map_or(Value::Null, |case| case["stages"].clone());
    if args.json {
        let result = json!({
            "images_per_second": best,
            "threads": threads,
            "peak_memory_bytes": memory::peak(),
            "stages": stages,
            "size": args.size,
            "channels": if args.gray { 1 } else { 3 },
            "pictures": sources.len(),
            "cases": cases,
        });
        crate::terminal::say(&result.to_string());
    } else {
        table(&cases, args, sources.len());
    }
    Ok(())
}

fn table(cases: &[Value], args: &BenchAugmentArgs, n: usize) {
    let channels = if args.gray { 1 } else { 3 };
    crate::terminal::say(&format!(
        "{n} pictures to two views of {channels}x{0}x{0} each, {1} thread(s), median of {REPEATS}",
        args.size, args.threads
    ));
    for case in cases {
        let rate = case["images_per_second"].as_f64().unwrap_or(0.0);
        crate::terminal::say(&format!("{:<24} {rate:>9.0} images/s", case["name"].as_str().unwrap_or("")));
        if let Some(stages) = case["stages"].as_object() {
            for (name, seconds) in stages {
                let micros = seconds.as_f64().unwrap_or(0.0) * 1e6;
                crate::terminal::say(&format!("  {name:<22} {micros:>9.1} us a picture"));
            }
        }
    }
}

fn semantics_name(semantics: Semantics) -> &'static str {
    match semantics {
        Semantics::Paper => "paper",
        Semantics::Torchvision => "torchvision",
    }
}

/// The policy of the peers' script: BYOL's, without blur for small pictures.
fn policy(semantics: Semantics, args: &BenchAugmentArgs) -> Result<ResolvedPolicy> {
    let name = if semantics == Semantics::Paper { "byol" } else { "byol-torchvision" };
    let mut policy = TwoViewPolicy::preset(name)?.with_size(args.size);
    if args.size <= SMALL {
        policy.ops.retain(|op| op.kind() != OpKind::Blur);
        policy.prime.retain(|op| op.kind() != OpKind::Blur);
    }
    if args.gray {
        (policy.normalize.mean, policy.normalize.std) = (vec![0.286], vec![0.353]);
    }
    Ok(policy.resolve(if args.gray { 1 } else { 3 })?)
}

fn sources(folder: &Path, args: &BenchAugmentArgs) -> Result<Vec<Source>> {
    let mut files = Vec::new();
    find(folder, &mut files)?;
    files.sort();
    if files.is_empty() {
        bail!("{}: there is no .jpg file in it (--photos)", folder.display());
    }
    let step = files.len().div_ceil(PICTURES);
    let read = |path: &PathBuf| -> Result<Source> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let decoded = decode(&bytes, 3, Limits::STANDARD).with_context(|| path.display().to_string())?;
        if args.size > SMALL && !args.gray {
            return Ok(Source::Encoded(bytes)); // known to decode
        }
        Ok(Source::Array(shrunk(&decoded, args)?))
    };
    files.iter().step_by(step).map(read).collect()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("opening {} (--photos)", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jpg")) {
            files.push(path);
        }
    }
    Ok(())
}

/// A picture as an array of the size of a view.
fn shrunk(picture: &Decoded, args: &BenchAugmentArgs) -> Result<Decoded> {
    let side = args.size as u32;
    let rgb = image::RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.data.clone())
        .context("a decoded picture has its pixels")?;
    let rgb = imageops::resize(&rgb, side, side, FilterType::CatmullRom);
    let (channels, data) =
        if args.gray { (1, imageops::grayscale(&rgb).into_raw()) } else { (3, rgb.into_raw()) };
    Ok(Decoded { width: args.size, height: args.size, channels, data })
}

/// Source pictures a second: the median of the repeats. Without a policy they are
/// only decoded.
fn rate(
    sources: &[Source],
    policy: Option<&ResolvedPolicy>,
    path: Instructions,
    threads: usize,
    seconds: Duration,
) -> Result<f64> {
    let mut rates = Vec::new();
    for repeat in 0..=REPEATS {
        // The first is to warm up.
        let time = if repeat == 0 { seconds / 4 } else { seconds };
        let work = |thread: usize| work(sources, policy, path, thread, threads, time);
        let counts: Result<Vec<f64>> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            let joined = running.into_iter().map(|t| t.join().map_err(|_| anyhow::anyhow!("a thread ended")));
            joined.map(|result| result.and_then(|rate| rate)).collect()
        });
        if repeat > 0 {
            rates.push(counts?.iter().sum::<f64>());
        }
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

/// One thread's pictures a second.
fn work(
    sources: &[Source],
    policy: Option<&ResolvedPolicy>,
    path: Instructions,
    thread: usize,
    threads: usize,
    time: Duration,
) -> Result<f64> {
    let mut workspace = Workspace::with_path(path)?;
    let (mut params, mut view) = (ViewParams::default(), Vec::new());
    let (start, mut n) = (Instant::now(), 0usize);
    while start.elapsed() < time {
        let sample = thread + n * threads;
        let decoded;
        let picture = match &sources[sample % sources.len()] {
            Source::Array(picture) => picture,
            Source::Encoded(bytes) => {
                decoded = decode(bytes, 3, Limits::STANDARD)?;
                &decoded
            }
        };
        if let Some(policy) = policy {
            let pixels = Pixels::new(&picture.data, picture.width, picture.height, picture.channels)?;
            for (i, policy) in [&policy.view, &policy.view_prime].into_iter().enumerate() {
                view.resize(policy.output_len(picture.channels), 0.0);
                let key = ViewKey { seed: 0, epoch: 0, sample: sample as u64, view: i as u64 };
                policy.sample_into(key, pixels.shape(), &mut params)?;
                policy.apply(&params, pixels, &mut workspace, &mut view)?;
            }
        }
        std::hint::black_box((&view, picture.data.len()));
        n += 1;
    }
    Ok(n as f64 / start.elapsed().as_secs_f64())
}

/// Seconds a picture of each stage, on one thread: what a longer policy takes more
/// than a shorter one.
fn stages(sources: &[Source], policy: &ResolvedPolicy, path: Instructions, time: Duration) -> Result<Value> {
    let with = |kinds: &[OpKind]| {
        let mut less = policy.clone();
        for view in [&mut less.view, &mut less.view_prime] {
            view.ops.retain(|op: &Op| kinds.contains(&op.kind()));
        }
        less
    };
    use OpKind::{Blur, ColorJitter, Grayscale, HorizontalFlip, Solarize};
    let seconds =
        |policy: Option<&ResolvedPolicy>| rate(sources, policy, path, 1, time).map(|rate| 1.0 / rate);
    let encoded = matches!(sources.first(), Some(Source::Encoded(_)));
    let decode = if encoded { seconds(None)? } else { 0.0 };
    let crop = seconds(Some(&with(&[HorizontalFlip])))?;
    let jitter = seconds(Some(&with(&[HorizontalFlip, ColorJitter, Grayscale])))?;
    let blur = seconds(Some(&with(&[HorizontalFlip, ColorJitter, Grayscale, Blur])))?;
    let all = seconds(Some(&with(&[HorizontalFlip, ColorJitter, Grayscale, Blur, Solarize])))?;
    Ok(json!({
        "decode": decode,
        "crop, flip, normalize": crop - decode,
        "jitter, grey": jitter - crop,
        "blur": blur - jitter,
        "solarize": all - blur,
        "all": all,
    }))
}
