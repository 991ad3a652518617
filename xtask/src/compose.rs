//! Where the crates meet: a data set by name, a recipe by flags, a run by folder.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use byol_data::{ImageDataset, OpenOptions, Shard, split_names};
use byol_model::Precision;
use byol_train::{RunDir, RunPlan, RunSpec, SpecBuilder};

use crate::cli::RecipeArgs;
use crate::device::Place;
use crate::exit::Usage;
use crate::terminal::tell;

/// What `data.path` says of the set that is built in.
const SHIPPED: &str = "builtin:fashion-mnist-mini";

const SHIPPED_SHARDS: [(&str, &str, &[u8]); 2] = [
    (
        "train",
        "train-00000-of-00001.parquet",
        include_bytes!("../../datasets/fashion-mnist-mini/data/train-00000-of-00001.parquet"),
    ),
    (
        "test",
        "test-00000-of-00001.parquet",
        include_bytes!("../../datasets/fashion-mnist-mini/data/test-00000-of-00001.parquet"),
    ),
];

/// Splits to score on, the first that there is.
const TEST_SPLITS: [&str; 4] = ["test", "validation", "valid", "val"];

/// A folder of shards, or the set that ships inside the program.
#[derive(Debug, Clone)]
pub enum Source {
    Shipped,
    Folder(PathBuf),
}

impl Source {
    /// What `--data` says; without it, the set that ships.
    pub fn from_flag(data: Option<&Path>) -> Result<Self> {
        let Some(path) = data else { return Ok(Self::Shipped) };
        let path = std::path::absolute(path).with_context(|| format!("{}", path.display()))?;
        Ok(Self::Folder(path))
    }

    /// What `--data` says; without it, the pictures of the run.toml that `--config`
    /// names, if it is one; without that, the set that ships.
    pub fn from_flags(data: Option<&Path>, config: Option<&Path>) -> Result<Self> {
        let recorded = match (data, config) {
            (None, Some(config)) => recorded_data(config),
            _ => None,
        };
        match recorded {
            Some(path) => Ok(Self::recorded(&path)),
            None => Self::from_flag(data),
        }
    }

    fn recorded(path: &str) -> Self {
        if path == SHIPPED { Self::Shipped } else { Self::Folder(path.into()) }
    }

    /// What a plan remembers.
    pub fn from_plan(plan: &RunPlan) -> Self {
        Self::recorded(&plan.data.path)
    }

    /// For the plan and for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Shipped => SHIPPED.into(),
            Self::Folder(path) => path.display().to_string(),
        }
    }

    /// One split.
    pub fn open(&self, split: &str) -> Result<ImageDataset> {
        self.open_with(split, &OpenOptions::default())
    }

    /// One split, with options.
    pub fn open_with(&self, split: &str, options: &OpenOptions) -> Result<ImageDataset> {
        match self {
            Self::Folder(path) => Ok(ImageDataset::open_with(path, split, options)?),
            Self::Shipped => {
                let shards: Vec<Shard> = SHIPPED_SHARDS
                    .iter()
                    .filter(|(name, ..)| *name == split)
                    .map(|(_, name, bytes)| Shard::built_in(name, bytes))
                    .collect();
                if shards.is_empty() {
                    bail!("the set that ships has the splits train and test, and no `{split}`");
                }
                Ok(ImageDataset::from_shards_with(split, shards, options)?)
            }
        }
    }

    /// The splits that there are.
    pub fn split_names(&self) -> Result<Vec<String>> {
        match self {
            Self::Folder(path) => {
                let names = split_names(path)?;
                if names.is_empty() {
                    // The error that says what was expected.
                    self.open("train")?;
                }
                Ok(names)
            }
            Self::Shipped => Ok(SHIPPED_SHARDS.iter().map(|(name, ..)| (*name).to_owned()).collect()),
        }
    }

    /// What `ingest` wrote beside the shards, if it made them.
    pub fn ingest_report(&self) -> Option<serde_json::Value> {
        let Self::Folder(path) = self else { return None };
        serde_json::from_slice(&fs::read(path.join("ingest.json")).ok()?).ok()
    }

    /// Whether there is a split to score on.
    pub fn has_test(&self) -> Result<bool> {
        Ok(self.split_names()?.iter().any(|name| TEST_SPLITS.contains(&name.as_str())))
    }

    /// The split to score on: `test`, or else `validation`, `valid` or `val`.
    pub fn open_test(&self) -> Result<ImageDataset> {
        let Self::Folder(path) = self else { return self.open("test") };
        let names = split_names(path)?;
        let split = TEST_SPLITS.into_iter().find(|w| names.iter().any(|n| n == w)).unwrap_or("test");
        self.open(split)
    }
}

/// `data.path` of a run.toml; nothing of any other file, which `recipe` judges.
fn recorded_data(config: &Path) -> Option<String> {
    recorded(config, "data", "path")
}

/// A text that the run.toml `config` remembers; nothing if it is no run.toml.
pub fn recorded(config: &Path, table: &str, key: &str) -> Option<String> {
    let file: toml::Table = config_text(config).ok()?.parse().ok()?;
    Some(file.get(table)?.get(key)?.as_str()?.to_owned())
}

/// The plan of a run.toml; nothing of any other file.
pub fn recorded_plan(config: &Path) -> Option<RunPlan> {
    toml::from_str(&config_text(config).ok()?).ok()
}

/// Bytes that a recipe may have; the longest that ships has 2,000.
const MAX_CONFIG: u64 = 1 << 20;

/// The file that `--config` names.
fn config_text(path: &Path) -> Result<String> {
    let reading = || format!("reading {} (--config)", path.display());
    let mut text = String::new();
    let file = fs::File::open(path).with_context(reading)?;
    file.take(MAX_CONFIG + 1).read_to_string(&mut text).with_context(reading)?;
    if text.len() as u64 > MAX_CONFIG {
        bail!("{}: more than {MAX_CONFIG} bytes; is it a recipe?", path.display());
    }
    Ok(text)
}

/// The recipe that the flags describe.
pub fn recipe(args: &RecipeArgs, overrides: &[String]) -> Result<RunSpec> {
    let mut builder = SpecBuilder::preset(&args.preset)?;
    if let Some(path) = &args.config {
        let text = config_text(path)?;
        builder = builder.file(&text, &path.display().to_string())?;
    }
    for assignment in args.set.iter().chain(overrides) {
        builder = builder.set(assignment)?;
    }
    if let Some(seed) = args.seed {
        builder = builder.set(&format!("seed={seed}"))?;
    }
    Ok(builder.build()?)
}

/// The run that is named, or the last one finished under `runs`.
pub fn run_dir(named: Option<&Path>) -> Result<RunDir> {
    match named {
        Some(path) => Ok(RunDir::open(path)?),
        None => Ok(RunDir::latest(Path::new(RUNS))?),
    }
}

/// The folder of runs.
pub const RUNS: &str = "runs";

/// Sets how many threads compute. Once, before anything does.
pub fn set_threads(threads: Option<u16>) -> Result<()> {
    let Some(n) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new()
        .num_threads(n.into())
        .build_global()
        .with_context(|| format!("starting {n} threads"))
}

/// The precision of that name; f32 for any other.
pub fn precision(name: &str) -> Precision {
    [Precision::Bf16, Precision::F16].into_iter().find(|p| p.to_string() == name).unwrap_or_default()
}

/// Refuses what the place cannot compute with: nothing is imitated in silence.
pub fn check_precision(precision: Precision, place: &Place) -> Result<()> {
    let name = precision.to_string();
    let (there, who) = match &place.gpu {
        Some(gpu) => (gpu.precisions.clone(), format!("{} ({})", gpu.name, gpu.title)),
        None => (vec!["f32", "bf16"], "the CPU".into()),
    };
    if there.contains(&name.as_str()) {
        return Ok(());
    }
    let there = there.join(" and ");
    Err(Usage(format!("precision = \"{name}\": {who} computes with {there}; --set precision=f32")).into())
}

/// Says that convolutions multiply bf16 values, and where that is no gain.
pub fn tell_precision(precision: Precision, place: &Place) {
    if precision == Precision::F16 {
        tell("convolutions multiply f16 values, and the loss is scaled");
    }
    if precision == Precision::Bf16 {
        let has = place.gpu.is_some() || byol_kernels::Path::current() == byol_kernels::Path::Avx512Bf16;
        tell(if has {
            "convolutions multiply bf16 values"
        } else {
            "convolutions multiply bf16 values, without instructions for them (AVX-512 BF16): f32 is faster here"
        });
    }
}
