//! The Hugging Face image layout.

#[cfg(feature = "dataset")]
use std::{collections::HashMap, sync::Arc};

#[cfg(feature = "dataset")]
use arrow_schema::{DataType, Field, Fields, Schema};
use serde_json::Value;
#[cfg(feature = "dataset")]
use serde_json::json;

/// Who wrote a shard.
pub(crate) const CREATED_BY: &str = "byol-data";
/// Footer key of the Hugging Face feature description.
pub(crate) const FEATURES_KEY: &str = "huggingface";
/// Footer key of the CRC-32 of each row group's bytes, a JSON list.
pub(crate) const CRC_KEY: &str = "byol.row_group_crc32";
/// Footer key of [`Content`].
pub(crate) const CONTENT_KEY: &str = "byol.content";

/// What a shard of ours says of its content, so that nobody need read it to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Of pictures and labels in order.
    pub(crate) fingerprint: String,
    /// Pictures.
    pub(crate) rows: u64,
    /// The most that a picture has, where whoever wrote the shard had looked.
    pub(crate) channels: Option<usize>,
}

impl Content {
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        Some(Self {
            fingerprint: value.get("fingerprint")?.as_str()?.to_owned(),
            rows: value.get("rows")?.as_u64()?,
            channels: value.get("channels").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()),
        })
    }

    #[cfg(feature = "dataset")]
    pub(crate) fn to_json(&self) -> String {
        let mut value = json!({ "fingerprint": self.fingerprint, "rows": self.rows });
        if let Some(channels) = self.channels {
            value["channels"] = json!(channels);
        }
        value.to_string()
    }
}

/// What the labels of a set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// There are none, and no column for them.
    None,
    /// Whole numbers without names.
    Numbers,
    /// Indices into these names.
    Classes(Vec<String>),
}

impl Labels {
    #[cfg(feature = "dataset")]
    pub(crate) fn classes(&self) -> &[String] {
        match self {
            Self::Classes(names) => names,
            _ => &[],
        }
    }
}

#[cfg(feature = "dataset")]
pub(crate) fn image_fields() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)])
}

#[cfg(feature = "dataset")]
/// The schema of a shard; without labels there is no label column.
pub(crate) fn schema(labels: &Labels) -> Arc<Schema> {
    let mut fields = vec![Field::new("image", DataType::Struct(image_fields()), true)];
    if *labels != Labels::None {
        fields.push(Field::new("label", DataType::Int64, true));
    }
    let metadata = HashMap::from([(FEATURES_KEY.to_owned(), features_json(labels))]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

#[cfg(feature = "dataset")]
pub(crate) fn features_json(labels: &Labels) -> String {
    let mut features = json!({ "image": { "_type": "Image" } });
    match labels {
        Labels::None => {}
        Labels::Numbers => features["label"] = json!({ "dtype": "int64", "_type": "Value" }),
        Labels::Classes(names) => features["label"] = json!({ "names": names, "_type": "ClassLabel" }),
    }
    json!({ "info": { "features": features } }).to_string()
}

/// Class names of a column out of a Hugging Face feature description.
pub(crate) fn classes_from_features(text: &str, column: &str) -> Option<Vec<String>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let names = value.get("info")?.get("features")?.get(column)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Columns that such a description calls pictures or classes.
pub(crate) fn columns_of_type(text: &str, kind: &str) -> Vec<String> {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let features = value.get("info").and_then(|info| info.get("features")).and_then(Value::as_object);
    let is_kind = |feature: &Value| feature.get("_type").and_then(Value::as_str) == Some(kind);
    features.into_iter().flatten().filter(|(_, f)| is_kind(f)).map(|(name, _)| name.clone()).collect()
}
