//! `bench --write-docs`: docs/performance.md, out of what this command measures and nothing else.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use byol_kernels::Path as Kernels;
use serde_json::Value;

use crate::cli::BenchArgs;
use crate::terminal::{Progress, tell};

/// Shapes that are measured: what they are, and flags of `bench train` and of the peer.
const SHAPES: [(&str, &str); 3] = [
    ("ResNet-18, width 64, 3x3 stem, 3x32x32, batch 64, heads 4096/256", "--width 64 --batch 64"),
    (
        "ResNet-18, width 16, 3x3 stem, 1x28x28, batch 256, heads 512/128",
        "--width 16 --channels 1 --size 28 --batch 256 --hidden 512 --proj 128",
    ),
    (
        "ResNet-50, 3x224x224, batch 8, heads 4096/256",
        "--encoder resnet50 --stem imagenet --size 224 --batch 8",
    ),
];
/// Times that each program is started for a shape, in turn.
const ROUNDS: usize = 3;
/// With these glibc keeps its memory, and PyTorch is faster.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
    ("MALLOC_TRIM_THRESHOLD_", "8589934592"),
    ("MALLOC_TOP_PAD_", "268435456"),
];
/// The page, and the peer, in a checkout.
const PAGE: &str = "docs/performance.md";
const PEER: &str = "tests/interop/step.py";

/// Measures and writes the page.
pub fn run(args: &BenchArgs) -> Result<()> {
    if !Path::new(PEER).exists() || !Path::new("docs").is_dir() {
        bail!("{PAGE} is written in a checkout of the project: there is no {PEER} here");
    }
    if let Some(python) = &args.python {
        // Better said now than after the first shape.
        let mut command = Command::new(python);
        command.args(["-c", "import lightly, torch, torchvision; print(0)"]);
        answer(command, "--python, which wants torch, torchvision and lightly")?;
    }
    let spinner = Progress::spinner("measuring every shape");
    let mut measured = Vec::new();
    for (name, flags) in SHAPES {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        let (mut ours_bf16, mut peer_bf16) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(ours_once(flags, &["--profile"])?);
            if let Some(python) = &args.python {
                peer.push(peer_once(python, flags, &[])?);
            }
            // Elsewhere neither has instructions for it, and f32 is faster.
            if Kernels::Avx512Bf16.is_available() {
                ours_bf16.push(ours_once(flags, &["--precision", "bf16"])?);
                if let Some(python) = &args.python {
                    peer_bf16.push(peer_once(python, flags, &["--bf16"])?);
                }
            }
        }
        let fewer = fewer_threads(rayon::current_num_threads());
        let fewer = fewer.into_iter().map(|n| Ok((n, ours_once(flags, &["--threads", &n.to_string()])?)));
        let fewer = fewer.collect::<Result<_>>()?;
        measured.push(Shape { name, flags, f32: [ours, peer], bf16: [ours_bf16, peer_bf16], fewer });
    }
    spinner.finish();
    std::fs::write(PAGE, page(&measured, args.python.is_some()))
        .with_context(|| format!("writing {PAGE}"))?;
    tell(&format!("wrote {PAGE}"));
    Ok(())
}

struct Shape {
    name: &'static str,
    flags: &'static str,
    /// Ours and the peer's.
    f32: [Vec<Value>; 2],
    /// The same; empty where the processor has no instructions for it.
    bf16: [Vec<Value>; 2],
    /// Ours on fewer threads, in f32.
    fewer: Vec<(usize, Value)>,
}

/// Powers of two below `threads`.
fn fewer_threads(threads: usize) -> Vec<usize> {
    std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|n| *n < threads).collect()
}

impl Shape {
    fn ours(&self) -> &[Value] {
        &self.f32[0]
    }
}

fn ours_once(flags: &str, more: &[&str]) -> Result<Value> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(["bench", "train", "--json"]).args(flags.split(' ')).args(more);
    answer(command, "bench train")
}

fn peer_once(python: &PathBuf, flags: &str, more: &[&str]) -> Result<Value> {
    let mut command = Command::new(python);
    command.arg(PEER).args(flags.split(' ')).args(more).envs(ALLOCATOR);
    command.args(["--threads", &rayon::current_num_threads().to_string()]);
    answer(command, PEER)
}

/// The last line that a program says, as JSON.
fn answer(mut command: Command, name: &str) -> Result<Value> {
    let output =
        command.output().with_context(|| format!("starting {:?} for {name}", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}: {}", output.status, said.trim());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("{name} said {last:?}"))
}

/// The middle one of what all runs say of `key`.
fn middle(runs: &[Value], key: &[&str]) -> Option<f64> {
    let of = |run: &Value| key.iter().try_fold(run, |value, key| value.get(key))?.as_f64();
    let mut all: Vec<f64> = runs.iter().filter_map(of).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

/// The most that any run has measured of the machine.
fn best(shapes: &[Shape], key: &str) -> Option<f64> {
    let of = |run: &Value| run.get("machine")?.get(key)?.as_f64();
    shapes.iter().flat_map(|shape| shape.ours().iter().filter_map(of)).reduce(f64::max)
}

fn page(shapes: &[Shape], with_peer: bool) -> String {
    let mut page = String::from(
        "# Performance\n\nWritten by `cargo xtask bench --write-docs`; do not edit. Figures are medians of \
         three starts of each program, in turn. A step is two views of every picture through online and \
         target network, both ways, the backward pass, SGD and the moving average, on random views.\n\n",
    );
    for line in about(shapes, with_peer) {
        let _ = writeln!(page, "- {line}");
    }
    let _ = write!(
        page,
        "\n| Step, pictures a second | Ours | PyTorch | Ratio | Ours, GFLOP/s | Of the machine's |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for shape in shapes {
        let [ours, peer] = both(shape, "images_per_second");
        let gflops = middle(shape.ours(), &["gflops"]);
        let share = gflops.zip(best(shapes, "flops")).map(|(ours, machine)| 1e11 * ours / machine);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} % |",
            shape.name,
            number(ours, 1),
            number(peer, 1),
            number(ratio(ours, peer), 2),
            number(gflops, 0),
            number(share, 0)
        );
    }
    let _ = write!(
        page,
        "\nOperations are counted as the convolutions are written. A 3x3 window by minimal filtering needs \
         fewer, so a share may be above 100 %.\n\n\
         | Forward alone, evaluation mode, pictures a second | Ours | PyTorch | Ratio |\n| --- | ---: | ---: | ---: |\n"
    );
    for shape in shapes {
        let [ours, peer] = both(shape, "forward_images_per_second");
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            shape.name,
            number(ours, 0),
            number(peer, 0),
            number(ratio(ours, peer), 2)
        );
    }
    page.push_str(&bf16(shapes));
    page.push_str(&scaling(shapes));
    page.push_str(
        "\nMemory is used again from step to step: the last column is what a step takes from the system, once \
         warm.\n\n| Peak memory of the process, GiB | Ours | PyTorch | Ours, pages of 4 KiB a step |\n\
         | --- | ---: | ---: | ---: |\n",
    );
    for shape in shapes {
        let [ours, peer] = both(shape, "peak_memory_bytes").map(|b| b.map(|b| b / f64::from(1 << 30)));
        let pages = middle(shape.ours(), &["pages_taken_per_step"]);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            shape.name,
            number(ours, 2),
            number(peer, 2),
            number(pages, 0)
        );
    }
    page.push_str(
        "\n## Parts of a step\n\nEach alone, on all threads, in milliseconds; beside it the least that its \
         arithmetic (as the convolutions are written: minimal filtering goes below it) or its memory would \
         take, whichever is more, at the rates that the same run measured. In a step the passes of \
         both networks go side by side, and so do the gradients of both directions.\n",
    );
    for shape in shapes {
        let _ = write!(
            page,
            "\n{} (`cargo xtask bench train --profile {}`):\n\n| Part | ms | Floor |\n| --- | ---: | ---: |\n",
            shape.name, shape.flags
        );
        let batch = middle(shape.ours(), &["batch"]).unwrap_or(f64::NAN);
        for part in super::stages::PARTS {
            let of = |kind: &str| middle(shape.ours(), &[kind, part]).map(|s| 1e3 * s * batch);
            let _ = writeln!(page, "| {part} | {} | {} |", number(of("stages"), 1), number(of("floors"), 1));
        }
    }
    page
}

/// Machine, programs, and what was not run.
fn about(shapes: &[Shape], with_peer: bool) -> Vec<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").ok();
    let cpu = cpu.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("model name")));
    let cpu = cpu.map_or("unknown processor", |line| line.trim_start_matches([' ', '\t', ':']));
    let [flops, bytes] = ["flops", "bytes_per_second"].map(|key| best(shapes, key));
    let said = |program: &str, words: &[&str]| {
        let output =
            Command::new(program).args(words).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let version = |lock: &str| {
        let after = lock.split("name = \"burn\"\nversion = \"").nth(1)?;
        Some(after.split('"').next()?.to_owned())
    };
    let burn = std::fs::read_to_string("Cargo.lock").ok().and_then(|lock| version(&lock));
    let unknown = || "unknown".to_owned();
    let mut lines = vec![
        format!(
            "Machine: {cpu}, {} threads; {} GFLOP/s of multiply-adds and {} GB/s of reading, the most measured here.",
            rayon::current_num_threads(),
            number(flops.map(|x| x / 1e9), 0),
            number(bytes.map(|x| x / 1e9), 1)
        ),
        format!(
            "Kernels: {:?}. {}",
            Kernels::current(),
            match Kernels::ALL
                .iter()
                .filter(|path| !path.is_available())
                .map(|p| format!("{p:?}"))
                .collect::<Vec<_>>()
            {
                none if none.is_empty() => "Every path was there.".to_owned(),
                some => format!("Not run, for this processor lacks them: {}.", some.join(", ")),
            }
        ),
        format!(
            "Ours: commit {}, Burn {}, {}, f32.",
            said("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(unknown),
            burn.unwrap_or_else(unknown),
            said("rustc", &["--version"]).unwrap_or_else(unknown)
        ),
    ];
    lines.push(if with_peer {
        let of = |key: &str| shapes[0].f32[1].first().and_then(|run| run[key].as_str()).unwrap_or("unknown");
        format!(
            "PyTorch: {}, lightly {}, by `{PEER}`: channels last, f32, with an allocator that keeps its memory.",
            of("torch"),
            of("lightly")
        )
    } else {
        "PyTorch: not run (`--python PYTHON`, one that has torch, torchvision and lightly).".to_owned()
    });
    lines
}

fn both(shape: &Shape, key: &str) -> [Option<f64>; 2] {
    shape.f32.each_ref().map(|runs| middle(runs, &[key]))
}

/// Steps on fewer threads, once each.
fn scaling(shapes: &[Shape]) -> String {
    let all = rayon::current_num_threads();
    let mut text = String::from("\n| Step, pictures a second, by threads |");
    let threads: Vec<usize> =
        shapes.first().map(|s| s.fewer.iter().map(|(n, _)| *n).collect()).unwrap_or_default();
    if threads.is_empty() {
        return String::new();
    }
    for n in threads.iter().chain([&all]) {
        let _ = write!(text, " {n} |");
    }
    text.push_str(" Times |\n| --- |");
    text.push_str(&" ---: |".repeat(threads.len() + 2));
    for shape in shapes {
        let whole = middle(shape.ours(), &["images_per_second"]);
        let of = shape.fewer.iter().map(|(_, run)| run["images_per_second"].as_f64());
        let each: Vec<Option<f64>> = of.chain([whole]).collect();
        let _ = write!(text, "\n| {} |", shape.name);
        for speed in &each {
            let _ = write!(text, " {} |", number(*speed, 1));
        }
        let _ = write!(text, " {} |", number(ratio(whole, each[0]), 2));
    }
    text.push('\n');
    text
}

/// What was measured in bf16, if anything was.
fn bf16(shapes: &[Shape]) -> String {
    if shapes.iter().all(|shape| shape.bf16[0].is_empty()) {
        return String::new();
    }
    let mut text = String::from(
        "\nIn bf16 (convolutions multiply bf16 values; PyTorch under autocast):\n\n\
         | Pictures a second | Ours | PyTorch | Ratio | Ours, forward | PyTorch, forward |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for shape in shapes {
        let [ours, peer] = shape.bf16.each_ref().map(|runs| middle(runs, &["images_per_second"]));
        let pass = shape.bf16.each_ref().map(|runs| middle(runs, &["forward_images_per_second"]));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            shape.name,
            number(ours, 1),
            number(peer, 1),
            number(ratio(ours, peer), 2),
            number(pass[0], 0),
            number(pass[1], 0)
        );
    }
    text
}

fn ratio(ours: Option<f64>, peer: Option<f64>) -> Option<f64> {
    Some(ours? / peer?)
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_has_what_was_measured_and_no_more() {
        let run = |speed: f64| {
            json!({
                "images_per_second": speed, "forward_images_per_second": 10.0 * speed, "batch": 64,
                "peak_memory_bytes": 1u64 << 30, "pages_taken_per_step": 12.0, "gflops": 100.0,
                "machine": {"flops": 2e11, "bytes_per_second": 2e10},
                "stages": {"backward": 0.5}, "floors": {"backward": 0.25},
            })
        };
        let shape = |peer| Shape {
            name: "a net",
            flags: "--x",
            f32: [[3.0, 1.0, 2.0].map(run).into(), peer],
            bf16: [vec![], vec![]],
            fewer: vec![(1, run(1.25))],
        };
        let page = page(&[shape(vec![run(4.0)])], true);
        assert!(page.contains("| a net | 2.0 | 4.0 | 0.50 | 100 | 50 % |"), "{page}");
        assert!(page.contains("| a net | 20 | 40 | 0.50 |"), "{page}");
        assert!(page.contains("| a net | 1.00 | 1.00 | 12 |"), "{page}");
        assert!(page.contains("| a net | 1.2 | 2.0 | 1.60 |"), "{page}");
        assert_eq!(fewer_threads(2), [1]);
        assert_eq!(fewer_threads(6), [1, 2, 4]);
        assert!(page.contains("| backward | 32000.0 | 16000.0 |"), "{page}");
        assert!(!page.contains("bf16"), "{page}");
        let with_bf16 = Shape { bf16: [vec![run(6.0)], vec![run(5.0)]], ..shape(vec![run(4.0)]) };
        assert!(super::page(&[with_bf16], true).contains("| a net | 6.0 | 5.0 | 1.20 | 60 | 50 |"));
        let alone = super::page(&[shape(vec![])], false);
        assert!(
            alone.contains("| a net | 2.0 | - | - | 100 | 50 % |") && alone.contains("not run"),
            "{alone}"
        );
    }
}
