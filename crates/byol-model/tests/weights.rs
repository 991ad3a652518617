//! Files of weights: those that others write, and those that are bad.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use byol_model::{
    Encoder, EncoderDescription, Loaded, ModelError, Preprocessing, ResNet, ResNetConfig, Stem, Version,
    encoder_bytes, load, named_tensors, save_encoder,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use support::{assert_close, fill, golden, tensor, values};

fn golden_path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/weights")).join(name)
}

fn config() -> ResNetConfig {
    ResNetConfig {
        depth: 18,
        width: 2,
        in_channels: 1,
        stem: Stem::Small,
        zero_gamma: false,
        version: Version::V1,
    }
}

fn encoder() -> ResNet {
    fill(config().init(&Device::flex()).unwrap(), false)
}

fn description() -> EncoderDescription {
    let mut preprocessing = Preprocessing::imagenet();
    preprocessing.size = 16;
    preprocessing.normalize.mean = vec![0.5];
    preprocessing.normalize.std = vec![0.25];
    let mut description = EncoderDescription::new(config(), preprocessing);
    description.origin.insert("preset".into(), "quick".into());
    description
}

#[test]
fn what_pytorch_wrote_is_loaded() {
    let expected = golden(&fs::read(golden_path("expected.safetensors")).unwrap());
    let device = Device::flex();
    for name in ["zip.pth", "legacy.pth", "lightly.ckpt"] {
        let Loaded { encoder, config: found, preprocessing, left_out, .. } =
            load(&golden_path(name), &device).unwrap();
        assert_eq!(found, config(), "{name}");
        assert_eq!(preprocessing, None, "{name}: a file of others does not say");
        assert_eq!(named_tensors(&encoder), named_tensors(&self::encoder()), "{name}");
        let y = encoder.forward(tensor("images", [3, 1, 16, 16], &device));
        assert_close(name, &values(y), &expected["features"].1);
        let moved = left_out.iter().filter(|name| name.contains("backbone_momentum")).count();
        assert_eq!(moved > 0, name == "lightly.ckpt", "{left_out:?}");
    }
}

#[test]
fn a_pickle_that_would_run_code_is_refused() {
    for name in ["calls.pth", "calls.pkl"] {
        let error = load(&golden_path(name), &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("posix.system") && error.contains("nothing was run"), "{error}");
    }
}

#[test]
fn a_file_of_ours_is_enough_to_use_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encoder.safetensors");
    save_encoder(&encoder(), &description(), &path).unwrap();
    let loaded = load(&path, &Device::flex()).unwrap();
    assert_eq!(loaded.description, Some(description()));
    assert_eq!(loaded.preprocessing, Some(description().preprocessing));
    assert_eq!(named_tensors(&loaded.encoder), named_tensors(&encoder()));
    assert_eq!(loaded.left_out, Vec::<String>::new());
    let pixels: Vec<u8> = (0..=255).cycle().take(2 * 16 * 16).map(|x: i32| x as u8).collect();
    let preprocessing = loaded.preprocessing.unwrap();
    let images = preprocessing.tensor(&pixels, &Device::flex()).unwrap();
    assert_eq!(images.dims(), [2, 1, 16, 16]);
    let first = images.clone().slice([0..1, 0..1, 0..1, 0..1]).into_scalar::<f32>();
    assert_eq!(first, (0.0 - 0.5) / 0.25);
    assert_eq!(loaded.encoder.forward(images).dims(), [2, 16]);
    assert!(preprocessing.tensor(&pixels[1..], &Device::flex()).is_err());
    // As anybody's: not for the owner alone.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let fresh = folder.path().join("plain");
        fs::write(&fresh, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&fresh));
    }
    // Nothing but the file is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Saves the network with some of its tensors changed, and loads that.
fn load_changed(change: impl FnOnce(&mut Tensors)) -> Result<Loaded, ModelError> {
    let bytes = encoder_bytes(&encoder(), &()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut tensors);
    let views: Vec<(&String, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    fs::write(&path, serialize(views, None).unwrap()).unwrap();
    load(&path, &Device::flex())
}

#[test]
fn bad_weights_are_named_key_by_key() {
    load_changed(|_| {}).unwrap();
    let error = load_changed(|tensors| {
        tensors.remove("layer1.1.bn2.running_var");
        tensors.insert("layer3.0.conv9.weight".into(), (Dtype::F32, vec![1], vec![0; 4]));
        tensors.insert("layer2.0.bn1.weight".into(), (Dtype::F32, vec![3], vec![0; 12]));
        tensors.insert("bn1.bias".into(), (Dtype::F64, vec![2], vec![0; 16]));
        tensors.insert("bn1.weight".into(), (Dtype::I32, vec![2], vec![0; 8]));
    })
    .unwrap_err()
    .to_string();
    for part in [
        "changed.safetensors",
        "nothing was loaded",
        "`layer1.1.bn2.running_var` is missing",
        "`layer3.0.conv9.weight` is unknown",
        "`layer2.0.bn1.weight` is [3], the network has [4]",
        "`bn1.bias` is F64, expected F32",
        "`bn1.weight` is I32, expected F32",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = load_changed(|tensors| {
        tensors.remove("conv1.weight");
    });
    assert!(error.unwrap_err().to_string().contains("`conv1.weight` is missing"));
}

#[test]
fn other_architectures_are_named() {
    let rename = |tensors: &mut Tensors, from: &str, to: &str| {
        let moved: Vec<String> = tensors.keys().filter(|name| name.starts_with(from)).cloned().collect();
        for name in moved {
            let tensor = tensors.remove(&name).unwrap();
            tensors.insert(name.replace(from, to), tensor);
        }
    };
    let error = load_changed(|tensors| rename(tensors, "layer1.1.", "layer1.7."));
    assert!(matches!(error, Err(ModelError::File { .. })));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("another architecture") && error.contains("[8, 2, 2, 2]"), "{error}");
    let error = load_changed(|tensors| rename(tensors, "layer1.", "blocks.")).unwrap_err().to_string();
    assert!(error.contains("no ResNet in the file"), "{error}");
    let error = load_changed(|tensors| {
        tensors.insert("conv1.weight".into(), (Dtype::F32, vec![2, 1, 5, 5], vec![0; 200]));
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("5x5"), "{error}");
}

#[test]
fn cut_and_damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    let ours = encoder_bytes(&encoder(), &description()).unwrap();
    for bytes in [
        ours.clone(),
        fs::read(golden_path("zip.pth")).unwrap(),
        fs::read(golden_path("legacy.pth")).unwrap(),
    ] {
        for end in (0..bytes.len()).step_by(bytes.len() / 60 + 1) {
            fs::write(&path, &bytes[..end]).unwrap();
            let error = load(&path, &Device::flex()).unwrap_err().to_string();
            assert!(error.contains("cut"), "{end}: {error}");
        }
    }
    // Flipped bits: an error or a network, never a panic.
    for bytes in
        [ours, fs::read(golden_path("zip.pth")).unwrap(), fs::read(golden_path("legacy.pth")).unwrap()]
    {
        for i in 0..150 {
            let mut bytes = bytes.clone();
            let at = (i * 7919) % bytes.len().min(8000);
            bytes[at] ^= 1 << (i % 8);
            fs::write(&path, &bytes).unwrap();
            let _ = load(&path, &Device::flex());
        }
    }
    let error = load(folder.path(), &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("no plain file"), "{error}");
    assert!(load(&folder.path().join("absent"), &Device::flex()).is_err());
}

#[test]
fn a_description_that_lies_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encoder.safetensors");
    let mut lie = description();
    lie.encoder.depth = 34;
    save_encoder(&encoder(), &lie, &path).unwrap();
    let error = load(&path, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("`layer1.2.conv1.weight` is missing"), "{error}");
    save_encoder(&encoder(), &"a word", &path).unwrap();
    let error = load(&path, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("description of the encoder"), "{error}");
    lie.encoder.width = 1 << 40;
    save_encoder(&encoder(), &lie, &path).unwrap();
    let error = load(&path, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("`width` is"), "{error}");
}
