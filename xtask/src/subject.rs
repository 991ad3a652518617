//! The encoder that a command is about: of a run, of a file, or of the Hugging Face Hub.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::module::Module as _;
use byol_augment::EvalTransform;
use byol_data::ImageDataset;
use byol_model::{
    EncoderDescription, HeadConfig, Loaded, Normalization, Precision, Preprocessing, ResNet, ResNetConfig,
    Stem, load, load_named, load_with, named_tensors,
};
use byol_train::{RunPlan, init_encoder};

use crate::cli::{WeightsArgs, stem};
use crate::compose::{Source, run_dir};
use crate::device::proof::{self, Shapes};
use crate::device::{self, Place};
use crate::exit::Usage;
use crate::hub::{self, Local};
use crate::terminal::tell;

/// An encoder and how it is used.
pub struct Subject {
    /// Where it comes from, for people.
    pub name: String,
    /// The run folder, if it is one's.
    pub run: Option<PathBuf>,
    /// The run's plan, if it is one's.
    pub plan: Option<RunPlan>,
    /// In evaluation mode.
    pub encoder: ResNet,
    pub transform: EvalTransform,
    pub description: EncoderDescription,
    /// Where the encoder is: on the CPU until [`on`](Self::on).
    pub place: Place,
}

/// Means and deviations of values from 0 to 1 are nowhere near.
const EXTREME: f64 = 1e6;

/// Of a step that a GPU proves itself by, where none is known.
const PROJECTOR: HeadConfig = HeadConfig { layers: 2, hidden: 512, output: 128 };

/// Largest side of a prepared picture that a file may ask for.
const MAX_SIDE: usize = 4096;

impl Subject {
    /// What the flags say: a run, the last one where none is named, or weights.
    pub fn open(args: &WeightsArgs) -> Result<Self> {
        let place = device::cpu();
        if let Some(weights) = &args.weights {
            return Self::of_weights(weights, args, place);
        }
        if let Some(flag) = args.preprocessing_flag() {
            return Err(Usage(format!(
                "{flag} goes with --weights: a run knows how its pictures are prepared"
            ))
            .into());
        }
        let run = run_dir(args.run.as_deref())?;
        let plan = run.plan()?;
        let path = run.encoder_path();
        if !path.exists() {
            bail!("{}: there is no encoder.safetensors; is the run finished?", run.path().display());
        }
        let loaded = load(&path, &place.device)?;
        let Some(description) = loaded.description else {
            bail!("{}: the file does not describe its encoder; was it replaced?", path.display());
        };
        if loaded.config != plan.encoder() {
            bail!(
                "{}: a {}, and run.toml says {}",
                path.display(),
                loaded.config.name(),
                plan.encoder().name()
            );
        }
        Ok(Self {
            name: format!("run {}", run.path().display()),
            run: Some(run.path().into()),
            transform: plan.policy()?.eval,
            plan: Some(plan),
            encoder: loaded.encoder,
            description,
            place,
        })
    }

    fn of_weights(weights: &str, args: &WeightsArgs, place: Place) -> Result<Self> {
        let Local { path, name, preprocessing: beside } = local(weights)?;
        let stem_flag = args.stem.as_deref().map(stem);
        let Loaded { encoder, config, preprocessing, description, .. } =
            load_with(&path, stem_flag, &place.device)?;
        if description.is_none() && stem_flag.is_none() && config.stem == Stem::Small {
            tell(&format!(
                "note: {} does not say whether its 3x3 first convolution has stride 1 or 2; taken is 1 (--stem \
                 small_stride2 for 2)",
                path.display()
            ));
        }
        let preprocessing = chosen(preprocessing.or(beside), &config, args, &path)?;
        let transform =
            transform_of(&preprocessing, &config).map_err(|error| match args.preprocessing_flag() {
                Some(_) => Usage(format!("{error} (--size, --mean, --std)")).into(),
                None => error.context(format!("{}: how pictures are prepared", path.display())),
            })?;
        let mut description =
            description.unwrap_or_else(|| EncoderDescription::new(config, preprocessing.clone()));
        description.preprocessing = preprocessing;
        let name = format!("{name} ({})", config.name());
        Ok(Self { name, run: None, plan: None, encoder, transform, description, place })
    }

    /// The pictures that a flag names; without it those of the run, or the set that ships.
    pub fn source(&self, data: Option<&Path>) -> Result<Source> {
        match (data, &self.plan) {
            (None, Some(plan)) => Ok(Source::from_plan(plan)),
            (data, _) => Source::from_flag(data),
        }
    }

    /// Says so if the pictures that the run was trained on are other ones now.
    pub fn tell_changes(&self, train: &ImageDataset, source: &Source) {
        if let Some(plan) = &self.plan
            && plan.data.split == "train"
            && train.fingerprint() != plan.data.fingerprint
        {
            tell(&format!("note: {} has changed since the run was trained on it", source.describe()));
        }
    }

    /// What names of files about pictures other than the run's end in; nothing for its own.
    pub fn other_pictures(&self, source: &Source, train: &ImageDataset) -> String {
        if self.plan.as_ref().is_none_or(|plan| plan.data.path == source.describe()) {
            return String::new();
        }
        let fingerprint: String = train.fingerprint().chars().filter(char::is_ascii_alphanumeric).collect();
        format!("-{}", &fingerprint[fingerprint.len().saturating_sub(8)..])
    }

    pub fn config(&self) -> &ResNetConfig {
        &self.description.encoder
    }

    /// Has the encoder compute there. A GPU proves itself first, which may take minutes.
    ///
    /// # Errors
    ///
    /// If it computes something else than the CPU.
    pub fn on(mut self, place: Place) -> Result<Self> {
        if let Some(gpu) = &place.gpu {
            let projector = self.plan.as_ref().map_or(PROJECTOR, |plan| plan.spec.projector);
            let (size, batch) = (self.transform.size, byol_eval::pictures_at_once(self.transform.size));
            let shapes = Shapes::new(*self.config(), size, batch, projector, Precision::F32)?;
            proof::prove(gpu, &shapes, None)?;
        }
        self.place = place;
        self.encoder = self.moved(self.encoder.clone())?.valid();
        Ok(self)
    }

    /// A network like the encoder, on the CPU, moved to where the encoder computes.
    fn moved(&self, encoder: ResNet) -> Result<ResNet> {
        if self.place.gpu.is_none() {
            return Ok(encoder);
        }
        let tensors = named_tensors(&encoder).into_iter().map(|t| (t.name, (t.shape, t.values))).collect();
        Ok(load_named(self.config().init(&self.place.device)?, tensors)?)
    }

    /// The same network at random initialisation; of the same seed where one is known, wherever it computes.
    pub fn untrained(&self) -> Result<ResNet> {
        let seed = match &self.plan {
            Some(plan) => plan.spec.seed,
            None => self.description.origin.get("seed").and_then(|seed| seed.parse().ok()).unwrap_or(0),
        };
        self.moved(init_encoder(self.config(), seed, &device::cpu().device)?)
    }
}

/// A path as it is, or the local copy of what `hf:OWNER/NAME` names.
pub fn local(weights: &str) -> Result<Local> {
    match weights.strip_prefix(hub::SCHEME) {
        Some(name) => hub::weights(name),
        None => {
            // For run.toml, which may be repeated from another folder.
            let name = std::path::absolute(weights).map_or(weights.into(), |path| path.display().to_string());
            Ok(Local { path: weights.into(), name, preprocessing: None })
        }
    }
}

/// The file's preprocessing with what the flags say instead; of a file that has none,
/// ImageNet's where that can be meant.
fn chosen(
    described: Option<Preprocessing>,
    config: &ResNetConfig,
    args: &WeightsArgs,
    path: &Path,
) -> Result<Preprocessing> {
    let assumed = described.is_none();
    let mut preprocessing = described.unwrap_or_else(Preprocessing::imagenet);
    if let Some(size) = args.size {
        preprocessing.size = size;
    }
    if let Some(mean) = &args.mean {
        preprocessing.normalize.mean = each_channel(mean, config);
    }
    if let Some(std) = &args.std {
        preprocessing.normalize.std = each_channel(std, config);
    }
    if !assumed {
        return Ok(preprocessing);
    }
    if args.size.is_none() && config.stem != Stem::Imagenet {
        return Err(Usage(format!(
            "{}: the file does not say which size of pictures its encoder takes; name it with --size",
            path.display()
        ))
        .into());
    }
    if config.in_channels != 3 && (args.mean.is_none() || args.std.is_none()) {
        return Err(Usage(format!(
            "{}: the file does not say how pictures of {} channel{} are normalised; name it with --mean and --std",
            path.display(),
            config.in_channels,
            if config.in_channels == 1 { "" } else { "s" }
        ))
        .into());
    }
    if args.size.is_none() || args.mean.is_none() || args.std.is_none() {
        let Preprocessing { size, crop, normalize, .. } = &preprocessing;
        tell(&format!(
            "note: {} does not say how pictures are prepared; taken are {size} pixels of the central {crop}, \
             mean {:?}, std {:?} (ImageNet's where no flag says otherwise: --size, --mean, --std)",
            path.display(),
            normalize.mean,
            normalize.std
        ));
    }
    Ok(preprocessing)
}

/// One value stands for all channels.
fn each_channel(values: &[f64], config: &ResNetConfig) -> Vec<f64> {
    match values {
        &[one] => vec![one; config.in_channels],
        values => values.into(),
    }
}

/// The transform that a description describes.
fn transform_of(preprocessing: &Preprocessing, config: &ResNetConfig) -> Result<EvalTransform> {
    let Preprocessing { size, crop, normalize, .. } = preprocessing;
    let n = config.in_channels;
    if !(1..=MAX_SIDE).contains(size) {
        bail!("a size of {size} pixels, expected 1 to {MAX_SIDE}");
    }
    if !(*crop > 0.0 && *crop <= 1.0) {
        bail!("a crop of {crop}, expected a share of the short side up to 1");
    }
    for (name, values) in [("mean", &normalize.mean), ("std", &normalize.std)] {
        if values.len() != n || values.iter().any(|x| x.is_nan() || x.abs() > EXTREME) {
            let numbers = if n == 1 {
                "one finite number".into()
            } else {
                format!("{n} finite numbers, one a channel")
            };
            bail!("{name} {values:?}, expected {numbers}");
        }
    }
    if normalize.std.iter().any(|&x| x < 1.0 / EXTREME) {
        bail!("std {:?}, expected positive numbers", normalize.std);
    }
    Ok(serde_json::from_value(serde_json::to_value(preprocessing)?)?)
}

/// How a file describes the transform of a plan, with one mean and deviation a channel.
pub fn preprocessing_of(transform: &EvalTransform, channels: usize) -> Result<Preprocessing> {
    let mut preprocessing: Preprocessing = serde_json::from_value(serde_json::to_value(transform)?)?;
    let Normalization { mean, std } = &mut preprocessing.normalize;
    for values in [mean, std] {
        if let &[one] = values.as_slice() {
            *values = vec![one; channels];
        }
    }
    Ok(preprocessing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plans_transform_survives_the_file() {
        for name in ["byol", "byol-torchvision", "small"] {
            let policy = byol_augment::TwoViewPolicy::preset(name).unwrap();
            let transform = policy.with_size(32).resolve(3).unwrap().eval;
            let config = ResNetConfig {
                depth: 18,
                width: 16,
                in_channels: 3,
                stem: Stem::Small,
                zero_gamma: false,
                version: byol_model::Version::V1,
            };
            let preprocessing = preprocessing_of(&transform, 3).unwrap();
            let again = transform_of(&preprocessing, &config).unwrap();
            assert_eq!(again.normalize.mean.len(), 3);
            assert_eq!(
                EvalTransform { normalize: transform.normalize.clone(), ..again },
                transform,
                "{name}"
            );
        }
        let config = ResNetConfig {
            depth: 50,
            width: 64,
            in_channels: 3,
            stem: Stem::Imagenet,
            zero_gamma: false,
            version: byol_model::Version::V1,
        };
        let transform = transform_of(&Preprocessing::imagenet(), &config).unwrap();
        assert_eq!(transform.size, 224);
    }
}
