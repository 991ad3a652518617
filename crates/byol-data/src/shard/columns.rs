//! Which columns of a Parquet file are the pictures and the labels.

use arrow_schema::{DataType, Field, Fields};

use super::schema;

/// The names of a set's columns, where they are not the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The pictures: a struct with `bytes`, or binary.
    pub image: Option<String>,
    /// The classes: whole numbers or texts.
    pub label: Option<String>,
}

/// Names that pictures go by, the likeliest first.
const IMAGE_NAMES: [&str; 8] = ["image", "img", "images", "picture", "jpg", "png", "image_bytes", "bytes"];
/// Names that labels go by, the likeliest first.
const LABEL_NAMES: [&str; 11] = [
    "label",
    "labels",
    "class",
    "fine_label",
    "target",
    "category",
    "cls",
    "label_name",
    "class_name",
    "species",
    "breed",
];

/// The columns of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Numbers of the columns to read.
    pub(super) image: usize,
    pub(super) label: Option<usize>,
    pub(super) image_name: String,
    pub(super) label_name: Option<String>,
    /// Whether the labels are texts.
    pub(super) texts: bool,
}

/// Finds them by the names asked for, what the file says of itself, or the usual names.
pub(super) fn find(fields: &Fields, asked: &Columns, features: Option<&str>) -> Result<Found, String> {
    let names = || fields.iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
    let position = |name: &str| fields.iter().position(|f| f.name() == name);
    let named =
        |asked: &str| position(asked).ok_or_else(|| format!("no column `{asked}`, only: {}", names()));
    let described = |kind| features.map_or_else(Vec::new, |text| schema::columns_of_type(text, kind));

    let image = match &asked.image {
        Some(name) => named(name)?,
        None => {
            let mut likely = described("Image");
            likely.extend(IMAGE_NAMES.map(str::to_owned));
            let known =
                likely.iter().filter_map(|name| position(name)).find(|&i| pictures(&fields[i]).is_ok());
            let candidates: Vec<usize> =
                (0..fields.len()).filter(|&i| pictures(&fields[i]).is_ok()).collect();
            match (known, candidates.as_slice(), position("image")) {
                (Some(i), ..) => i,
                (None, [i], _) => *i,
                (None, _, Some(i)) => i, // of the wrong type: said below
                (None, [], None) => {
                    return Err(format!(
                        "no column `image`, and none that could hold pictures; only: {}",
                        names()
                    ));
                }
                (None, _, None) => {
                    return Err(format!(
                        "which column holds the pictures? Name it with --image-column; there are: {}",
                        names()
                    ));
                }
            }
        }
    };
    pictures(&fields[image])?;
    let label = match &asked.label {
        Some(name) => Some(named(name)?),
        None => {
            // The usual names first: what CIFAR-100 calls `coarse_label` is described, too.
            let usual = LABEL_NAMES.iter().find_map(|name| position(name)).filter(|&i| i != image);
            let described: Vec<usize> = described("ClassLabel")
                .iter()
                .filter_map(|name| position(name))
                .filter(|&i| i != image)
                .collect();
            match (usual, described.as_slice()) {
                (None, [_, _, ..]) => {
                    return Err(format!(
                        "which column holds the classes? Name it with --label-column; there are: {}",
                        names()
                    ));
                }
                (usual, described) => usual.or(described.first().copied()),
            }
        }
    };
    let texts = match label {
        Some(i) => labels(&fields[i])?,
        None => false,
    };
    Ok(Found {
        image,
        label,
        image_name: fields[image].name().clone(),
        label_name: label.map(|i| fields[i].name().clone()),
        texts,
    })
}

fn pictures(field: &Field) -> Result<(), String> {
    match field.data_type() {
        DataType::Binary => Ok(()),
        DataType::Struct(fields)
            if fields.iter().any(|f| f.name() == "bytes" && *f.data_type() == DataType::Binary) =>
        {
            Ok(())
        }
        other => Err(format!(
            "column `{}` is {other}, expected binary or a struct with binary `bytes`",
            field.name()
        )),
    }
}

/// Whether they are texts.
fn labels(field: &Field) -> Result<bool, String> {
    match field.data_type() {
        DataType::Utf8 => Ok(true),
        kind if kind.is_integer() => Ok(false),
        DataType::Null | DataType::Boolean | DataType::Float32 | DataType::Float64 => Ok(false),
        other => Err(format!("column `{}` is {other}, expected whole numbers or texts", field.name())),
    }
}
