//! The Hugging Face image layout.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema};
use serde_json::{Value, json};

/// Footer key of the Hugging Face feature description.
pub(crate) const FEATURES_KEY: &str = "huggingface";
/// Footer key of the CRC-32 of each row group's bytes, a JSON list.
pub(crate) const CRC_KEY: &str = "byol.row_group_crc32";

pub(crate) fn image_fields() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)])
}

/// The schema of a shard; without classes there is no label column.
pub(crate) fn schema(labelled: bool, classes: &[String]) -> Arc<Schema> {
    let mut fields = vec![Field::new("image", DataType::Struct(image_fields()), true)];
    if labelled {
        fields.push(Field::new("label", DataType::Int64, true));
    }
    let metadata = HashMap::from([(FEATURES_KEY.to_owned(), features_json(labelled, classes))]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

pub(crate) fn features_json(labelled: bool, classes: &[String]) -> String {
    let mut features = json!({ "image": { "_type": "Image" } });
    if labelled {
        features["label"] = if classes.is_empty() {
            json!({ "dtype": "int64", "_type": "Value" })
        } else {
            json!({ "names": classes, "_type": "ClassLabel" })
        };
    }
    json!({ "info": { "features": features } }).to_string()
}

/// Class names out of a Hugging Face feature description.
pub(crate) fn classes_from_features(text: &str) -> Option<Vec<String>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let names = value.pointer("/info/features/label/names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}
