//! Which of a checkpoint's tensors are the encoder's, and what we call them.
//!
//! A checkpoint may hold a bare ResNet, one below a prefix (`state_dict.`, `module.`,
//! `backbone.`, `online_encoder.net.`), or one as a sequence, as lightly's examples make
//! it from a ResNet's children (`backbone.0` is `conv1`, `backbone.4` is `layer1`). It
//! may hold a second one, the target: that is never taken where there is an online one.

use std::collections::{BTreeMap, BTreeSet};

use super::state_dict::StateDict;
use crate::ModelError;

/// Places of a ResNet's children in a sequence of them; the others have no weights.
const CHILDREN: [(&str, &str); 6] =
    [("0", "conv1"), ("1", "bn1"), ("4", "layer1"), ("5", "layer2"), ("6", "layer3"), ("7", "layer4")];

/// Words in a prefix that say: the moving average, not the network that is trained.
const AVERAGES: [&str; 6] = ["target", "momentum", "teacher", "ema", "k", "avg"];

/// What others call a classifier or a head beside a ResNet's layers.
const HEADS: [&str; 10] = [
    "fc",
    "head",
    "classifier",
    "projector",
    "predictor",
    "projection_head",
    "prediction_head",
    "online_classifier",
    "prototypes",
    "mlp",
];

/// An encoder inside a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Our name to the file's.
    pub names: BTreeMap<String, String>,
    /// The file's names that were left out: classifier, heads, target, optimiser.
    pub left_out: Vec<String>,
}

/// Finds the encoder.
pub(super) fn find(file: &StateDict) -> Result<Found, ModelError> {
    let roots = roots(file);
    let online: Vec<&Root> = roots.iter().filter(|root| !root.is_average()).collect();
    let candidates = if online.is_empty() { roots.iter().collect() } else { online };
    // Of several, the one that says so (byol-pytorch saves its network twice).
    let named: Vec<&Root> = candidates.iter().copied().filter(|r| r.prefix.contains("online")).collect();
    let root = match (candidates.as_slice(), named.as_slice()) {
        ([root], _) | (_, [root]) => *root,
        ([], _) => return Err(ModelError::Architecture(no_resnet(file))),
        (several, _) => {
            let prefixes: Vec<String> = several.iter().map(|root| format!("`{}`", root.prefix)).collect();
            return Err(ModelError::Architecture(format!(
                "the file holds several networks, below {}; save the one that is meant by itself",
                prefixes.join(", ")
            )));
        }
    };
    let mut names = BTreeMap::new();
    let mut left_out = Vec::new();
    for name in file.tensors.keys() {
        match name.strip_prefix(&root.prefix).and_then(|rest| root.ours(rest)) {
            Some(ours) => {
                names.insert(ours, name.clone());
            }
            None => left_out.push(name.clone()),
        }
    }
    Ok(Found { names, left_out })
}

/// A prefix below which a ResNet begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Root {
    prefix: String,
    /// As a sequence of its children.
    sequence: bool,
}

impl Root {
    fn is_average(&self) -> bool {
        let lower = self.prefix.to_lowercase();
        lower.split(['.', '_']).any(|word| AVERAGES.contains(&word))
    }

    /// Our name for what the file calls prefix + `rest`; none for a classifier and for
    /// the counters of PyTorch's normalisations.
    fn ours(&self, rest: &str) -> Option<String> {
        // A name without a dot is no layer's: it will be named as unknown.
        let Some((child, inner)) = rest.split_once('.') else { return Some(rest.to_owned()) };
        if HEADS.contains(&child) || rest.ends_with("num_batches_tracked") {
            return None;
        }
        if !self.sequence {
            return Some(rest.to_owned());
        }
        let known = CHILDREN.iter().find(|(place, _)| *place == child);
        Some(known.map_or_else(|| rest.to_owned(), |(_, name)| format!("{name}.{inner}")))
    }
}

fn roots(file: &StateDict) -> BTreeSet<Root> {
    let has = |prefix: &str, rest: &str| file.tensors.contains_key(&format!("{prefix}{rest}"));
    let mut roots = BTreeSet::new();
    for name in file.tensors.keys() {
        for (first, inside, sequence) in
            [("conv1.weight", "layer1.0.conv1.weight", false), ("0.weight", "4.0.conv1.weight", true)]
        {
            let Some(prefix) = name.strip_suffix(first) else { continue };
            let is_whole_word = prefix.is_empty() || prefix.ends_with('.');
            if is_whole_word && has(prefix, inside) {
                roots.insert(Root { prefix: prefix.to_owned(), sequence });
            }
        }
    }
    // A file that lacks one of the two: its other layers still say where it begins.
    if roots.is_empty() {
        for name in file.tensors.keys() {
            if let Some(at) = name.find("layer1.0.")
                && (at == 0 || name[..at].ends_with('.'))
            {
                roots.insert(Root { prefix: name[..at].to_owned(), sequence: false });
            }
        }
    }
    roots
}

fn no_resnet(file: &StateDict) -> String {
    let first: Vec<String> = file.tensors.keys().take(4).map(|name| format!("`{name}`")).collect();
    let what = match first.as_slice() {
        [] => "no tensors in it".into(),
        _ => format!("its tensors are {} …", first.join(", ")),
    };
    format!("no ResNet in the file (no `conv1.weight` with `layer1.0.conv1.weight` below any prefix); {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::state_dict::Stored;

    fn file(names: &[&str]) -> StateDict {
        let stored =
            |_: &&str| Stored { dtype: "F32".into(), shape: vec![1], read: Box::new(|| Ok(vec![0; 4])) };
        let tensors = names.iter().map(|name| ((*name).to_owned(), stored(name))).collect();
        StateDict { tensors, description: None }
    }

    fn theirs(names: &[&str]) -> BTreeMap<String, String> {
        find(&file(names)).unwrap().names
    }

    #[test]
    fn every_wrapping_is_taken_off() {
        for prefix in
            ["", "module.", "state_dict.", "state_dict.backbone.", "state_dict.module.encoder_q.", "net."]
        {
            let names = ["conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "fc.weight"]
                .map(|name| format!("{prefix}{name}"));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let found = find(&file(&names)).unwrap();
            assert_eq!(found.names.len(), 3, "{prefix}");
            assert_eq!(found.names["bn1.running_mean"], format!("{prefix}bn1.running_mean"));
            assert_eq!(found.left_out, [format!("{prefix}fc.weight")]);
        }
    }

    #[test]
    fn a_sequence_of_children_is_named() {
        let names = theirs(&[
            "backbone.0.weight",
            "backbone.1.num_batches_tracked",
            "backbone.1.weight",
            "backbone.4.0.conv1.weight",
            "backbone.7.1.bn2.bias",
            "projection_head.layers.0.weight",
        ]);
        let ours: Vec<&String> = names.keys().collect();
        assert_eq!(ours, ["bn1.weight", "conv1.weight", "layer1.0.conv1.weight", "layer4.1.bn2.bias"]);
    }

    #[test]
    fn the_online_network_is_taken() {
        let names = theirs(&[
            "net.conv1.weight",
            "net.layer1.0.conv1.weight",
            "online_encoder.net.conv1.weight",
            "online_encoder.net.layer1.0.conv1.weight",
            "online_encoder.projector.0.weight",
            "target_encoder.net.conv1.weight",
            "target_encoder.net.layer1.0.conv1.weight",
        ]);
        assert_eq!(names["conv1.weight"], "online_encoder.net.conv1.weight");
        let names = theirs(&[
            "backbone.conv1.weight",
            "backbone.layer1.0.conv1.weight",
            "momentum_backbone.conv1.weight",
            "momentum_backbone.layer1.0.conv1.weight",
        ]);
        assert_eq!(names["conv1.weight"], "backbone.conv1.weight");
    }

    #[test]
    fn what_is_no_resnet_or_several_is_said() {
        let error = find(&file(&["cls_token", "blocks.0.attn.qkv.weight"])).unwrap_err().to_string();
        assert!(error.contains("no ResNet") && error.contains("cls_token"), "{error}");
        let error = find(&file(&[
            "a.conv1.weight",
            "a.layer1.0.conv1.weight",
            "b.conv1.weight",
            "b.layer1.0.conv1.weight",
        ]))
        .unwrap_err()
        .to_string();
        assert!(error.contains("`a.`, `b.`"), "{error}");
    }
}
