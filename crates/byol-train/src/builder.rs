//! A recipe out of presets, files and `--set`, merged, every key known.

use byol_augment::TwoViewPolicy;
use toml::{Table, Value};

use crate::{RunSpec, TrainError};

const PRESETS: [(&str, &str); 11] = [
    ("quick", include_str!("presets/quick.toml")),
    ("paper-1000", include_str!("presets/paper-1000.toml")),
    ("paper-300", include_str!("presets/paper-300.toml")),
    ("paper-100", include_str!("presets/paper-100.toml")),
    ("paper-40", include_str!("presets/paper-40.toml")),
    ("paper-batch-512", include_str!("presets/paper-batch-512.toml")),
    ("imagenette", include_str!("presets/imagenette.toml")),
    ("cifar10", include_str!("presets/cifar10.toml")),
    ("stl10", include_str!("presets/stl10.toml")),
    ("fashion", include_str!("presets/fashion.toml")),
    ("photographs", include_str!("presets/photographs.toml")),
];

/// Collects a recipe: a preset, then changes in order.
#[derive(Debug, Clone)]
pub struct SpecBuilder {
    table: Table,
}

impl SpecBuilder {
    /// Names of the presets.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// A preset as it is written, with sources in comments.
    pub fn preset_text(name: &str) -> Option<&'static str> {
        PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// Starts from a preset. A preset may name another as its `base`.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn preset(name: &str) -> Result<Self, TrainError> {
        let text = Self::preset_text(name).ok_or_else(|| TrainError::UnknownPreset {
            name: name.into(),
            nearest: nearest(name, Self::presets()),
            known: Self::presets().collect::<Vec<_>>().join(", "),
        })?;
        let origin = format!("preset {name}");
        let mut table = parse(text, &origin)?;
        let mut builder = match table.remove("base") {
            Some(Value::String(base)) => Self::preset(&base)?,
            _ => Self { table: expand_policy(table.clone(), &origin)? },
        };
        builder.merge(table, &origin)?;
        builder.table.insert("preset".into(), name.into());
        Ok(builder)
    }

    /// Changes what a TOML text names. The text of a `run.toml` counts too: its
    /// `spec` is taken.
    ///
    /// # Errors
    ///
    /// If it is not TOML or has a key that recipes have not.
    pub fn file(mut self, text: &str, origin: &str) -> Result<Self, TrainError> {
        let mut table = parse(text, origin)?;
        if let Some(Value::Table(spec)) = table.remove("spec") {
            table = spec;
        }
        self.merge(table, origin)?;
        Ok(self)
    }

    /// Changes one value: `key=value`, dots between levels, the value as in TOML
    /// (quotes around plain words may be left out). Elements of a list of
    /// operations go by their name: `policy.ops.blur.p=0.5`.
    ///
    /// # Errors
    ///
    /// If there is no such key.
    pub fn set(mut self, assignment: &str) -> Result<Self, TrainError> {
        let origin = format!("--set {assignment}");
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(TrainError::Value { origin, why: "expected KEY=VALUE".into() });
        };
        let (key, value) = (key.trim(), value.trim());
        if key == "preset" || value.contains('\n') {
            let why =
                if key == "preset" { "use --preset NAME" } else { "one value, on one line, was expected" };
            return Err(TrainError::Value { origin, why: why.into() });
        }
        let parsed = parse(&format!("value = {value}"), &origin)
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(value.to_owned()));
        let segments: Vec<&str> = key.split('.').collect();
        let mut place = Place::Table(&mut self.table);
        for (i, segment) in segments.iter().enumerate() {
            let known = place.keys();
            // `length` and `warmup` have one key of two, and few runs are by the clock.
            let optional = if i == 0 { is_optional(segment) } else { is_length(segments[i - 1]) };
            if !optional && !known.iter().any(|k| k == segment) {
                return Err(unknown(&origin, &segments, i, &known));
            }
            if i + 1 == segments.len() {
                place.put(segment, parsed);
                break;
            }
            place = match place.enter(segment) {
                Some(inner) => inner,
                None => return Err(unknown(&origin, &segments, i + 1, &[])),
            };
        }
        Ok(self)
    }

    /// The recipe.
    ///
    /// # Errors
    ///
    /// If a value has the wrong type or a key is missing.
    pub fn build(self) -> Result<RunSpec, TrainError> {
        let value = |why: String| TrainError::Value { origin: "recipe".into(), why };
        // Through text, so that an error shows the line with the key.
        let text = toml::to_string(&self.table).map_err(|e| value(e.to_string()))?;
        toml::from_str(&text).map_err(|e| value(e.to_string()))
    }

    fn merge(&mut self, table: Table, origin: &str) -> Result<(), TrainError> {
        merge(&mut self.table, expand_policy(table, origin)?, origin, &mut Vec::new())
    }
}

fn parse(text: &str, origin: &str) -> Result<Table, TrainError> {
    text.parse().map_err(|e: toml::de::Error| TrainError::Value { origin: origin.into(), why: e.to_string() })
}

/// A key that a recipe may have at its top, and no preset has.
fn is_optional(key: &str) -> bool {
    key == "minutes"
}

fn is_length(key: &str) -> bool {
    matches!(key, "length" | "warmup")
}

/// `policy.base = "byol"` stands for the values of that policy.
fn expand_policy(mut table: Table, origin: &str) -> Result<Table, TrainError> {
    if let Some(Value::Table(policy)) = table.get_mut("policy")
        && let Some(base) = policy.remove("base")
    {
        let name = base.as_str().unwrap_or_default();
        let text = TwoViewPolicy::preset_toml(name).ok_or_else(|| TrainError::Value {
            origin: origin.into(),
            why: format!(
                "no policy is called `{name}`; there are: {}",
                TwoViewPolicy::presets().collect::<Vec<_>>().join(", ")
            ),
        })?;
        let mut whole = parse(text, origin)?;
        merge(&mut whole, std::mem::take(policy), origin, &mut vec!["policy".into()])?;
        *policy = whole;
    }
    Ok(table)
}

fn merge(base: &mut Table, change: Table, origin: &str, path: &mut Vec<String>) -> Result<(), TrainError> {
    for (key, value) in change {
        path.push(key.clone());
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) if !is_length(&key) => {
                merge(inner, value, origin, path)?;
            }
            (Some(slot), value) => *slot = value,
            (None, value) if path.len() == 1 && is_optional(&key) => {
                base.insert(key, value);
            }
            (None, _) => {
                let known: Vec<String> = base.keys().cloned().collect();
                let segments: Vec<&str> = path.iter().map(String::as_str).collect();
                return Err(unknown(origin, &segments, segments.len() - 1, &known));
            }
        }
        path.pop();
    }
    Ok(())
}

fn unknown(origin: &str, segments: &[&str], at: usize, known: &[String]) -> TrainError {
    let prefix = segments[..at].iter().map(|s| format!("{s}.")).collect::<String>();
    TrainError::UnknownKey {
        origin: origin.into(),
        key: segments[..=at].join("."),
        nearest: nearest(segments[at], known.iter().map(String::as_str)).map(|n| prefix + &n),
    }
}

/// The known name that is most like `name`.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// Where in a recipe an assignment has got to.
enum Place<'a> {
    Table(&'a mut Table),
    /// A list of operations, addressed by their `op`.
    Ops(&'a mut Vec<Value>),
}

impl<'a> Place<'a> {
    fn keys(&self) -> Vec<String> {
        match self {
            Place::Table(table) => table.keys().cloned().collect(),
            Place::Ops(ops) => ops.iter().filter_map(op_name).map(str::to_owned).collect(),
        }
    }

    fn enter(self, key: &str) -> Option<Place<'a>> {
        let value = match self {
            Place::Table(table) => table.get_mut(key)?,
            Place::Ops(ops) => ops.iter_mut().find(|op| op_name(op) == Some(key))?,
        };
        match value {
            Value::Table(table) => Some(Place::Table(table)),
            Value::Array(ops) if ops.iter().any(|op| op_name(op).is_some()) => Some(Place::Ops(ops)),
            _ => None,
        }
    }

    fn put(self, key: &str, value: Value) {
        match self {
            Place::Table(table) => {
                if matches!(key, "epochs" | "steps") {
                    table.clear(); // one of the two
                }
                table.insert(key.to_owned(), value);
            }
            Place::Ops(ops) => {
                if let Some(slot) = ops.iter_mut().find(|op| op_name(op) == Some(key)) {
                    *slot = value;
                }
            }
        }
    }
}

fn op_name(value: &Value) -> Option<&str> {
    value.as_table()?.get("op")?.as_str()
}
