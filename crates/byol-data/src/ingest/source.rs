//! What a source is, and the pictures in it, one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use sha2::{Digest, Sha256};

use super::{IngestOptions, archive, cifar, folder, idx, mat, parquet, stl, table};
use crate::guard::guarded;
use crate::{DataError, Decoded, Labels};

/// Kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A folder of pictures; sub-folders are classes, `train`, `val` and `test` splits.
    Folder,
    /// A CSV or TSV file with a column of paths.
    Table,
    /// The files of MNIST and its relatives.
    Idx,
    /// The binary files of CIFAR-10 or CIFAR-100.
    Cifar,
    /// The binary files of STL-10.
    Stl10,
    /// The MATLAB files of SVHN's cropped digits.
    Svhn,
    /// A tar or zip archive, or a folder of tars: WebDataset, or a folder of pictures within.
    Archive,
    /// Parquet files with a column of pictures.
    Parquet,
}

impl Format {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("folder", Self::Folder),
        ("table", Self::Table),
        ("idx", Self::Idx),
        ("cifar", Self::Cifar),
        ("stl10", Self::Stl10),
        ("svhn", Self::Svhn),
        ("archive", Self::Archive),
        ("parquet", Self::Parquet),
    ];
}

/// A picture of a source, or what stands in its place.
pub(super) struct Item {
    pub(super) path: String,
    pub(super) split: Arc<str>,
    pub(super) label: Option<i64>,
    pub(super) content: Content,
}

impl Item {
    /// A split becomes part of a file's name; one that cannot is a fault. `load_dataset` takes
    /// words and points alone: blanks and hyphens become `_`.
    pub(super) fn placeable(mut self) -> Self {
        if self.split.contains(['-', ' ']) {
            self.split = self.split.replace(['-', ' '], "_").into();
        }
        if &*self.split == "all" {
            self.split = "all_".into(); // `all` means every split there
        }
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let word = &self.split;
        if word.chars().all(plain)
            && !word.starts_with('.')
            && !word.ends_with('.')
            && !word.contains("..")
            && (1..=100).contains(&word.len())
        {
            return self;
        }
        let shown: String = word.chars().take(40).collect();
        let content = Content::Fault(format!("its split {shown:?} is no plain word"));
        Self { content, split: "train".into(), ..self }
    }
}

pub(super) enum Content {
    File(PathBuf),
    Encoded(Vec<u8>),
    Pixels(Decoded),
    /// Cannot be read, for this reason.
    Fault(String),
}

impl Content {
    /// Bytes that it holds, or will when it is read.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Encoded(bytes) => bytes.len(),
            Self::Pixels(pixels) => pixels.data.len(),
            Self::File(path) => fs::metadata(path).map_or(0, |about| about.len() as usize),
            Self::Fault(_) => 0,
        }
    }
}

/// A source that has been opened.
pub(super) struct Listing {
    pub(super) labels: Labels,
    pub(super) n_items: Option<u64>,
    /// Changes when the source does.
    pub(super) signature: String,
    /// Files that are no pictures and do not claim to be.
    pub(super) ignored: u64,
    pub(super) items: Box<dyn Iterator<Item = Result<Item, DataError>> + Send>,
}

/// Recognises a source and opens it.
pub(super) fn open(path: &Path, options: &IngestOptions) -> Result<(Format, Listing), DataError> {
    let about = fs::metadata(path).map_err(DataError::io("opening", path))?;
    let format = match options.format {
        Some(format) => format,
        None if about.is_dir() => of_folder(path)?,
        None => of_file(path)?,
    };
    let asked = options.columns.image.is_some() || options.columns.label.is_some();
    if asked && !matches!(format, Format::Table | Format::Parquet) {
        let why =
            "it has no columns; --image-column and --label-column are of tables and Parquet files".into();
        return Err(DataError::Source { path: path.into(), why });
    }
    let mut listing = match format {
        Format::Folder => folder::open(path, options),
        Format::Table => table::open(path, options),
        Format::Idx => idx::open(path),
        Format::Cifar => cifar::open(path),
        Format::Stl10 => stl::open(path),
        Format::Svhn => mat::open(path),
        Format::Archive => archive::open(path, options),
        Format::Parquet => parquet::open(path, options),
    }?;
    if let Labels::Classes(names) = &mut listing.labels {
        for name in names {
            if let Some(other) = options.rename.get(name) {
                name.clone_from(other);
            }
        }
    }
    Ok((format, listing))
}

fn of_file(path: &Path) -> Result<Format, DataError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    match () {
        () if ends(&[".csv", ".tsv"]) => Ok(Format::Table),
        () if ends(&[".tar", ".tar.gz", ".tgz", ".zip"]) => Ok(Format::Archive),
        () if ends(&[".parquet"]) => Ok(Format::Parquet),
        () if is_idx(&name) => Ok(Format::Idx),
        () => Err(DataError::Source {
            path: path.into(),
            why: "not a source that is known by its name: a folder, .csv, .tsv, .tar, .tar.gz, .tgz, .zip, \
                  .parquet, or the files of MNIST, CIFAR or STL-10; --format says which it is"
                .into(),
        }),
    }
}

fn is_idx(name: &str) -> bool {
    name.contains("-images-idx3-ubyte") || name.contains("-images.idx3-ubyte")
}

fn of_folder(path: &Path) -> Result<Format, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(DataError::io("opening the folder", path))? {
        let entry = entry.map_err(DataError::io("listing", path))?;
        names.push(entry.file_name().to_string_lossy().to_ascii_lowercase());
    }
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let any = |ends: &[&str]| names.iter().any(|name| ends.iter().any(|end| name.ends_with(end)));
    let nested = |folder: &str, file: &str| path.join(folder).join(file).is_file();
    Ok(match () {
        () if names.iter().any(|name| is_idx(name)) => Format::Idx,
        () if has("data_batch_1.bin") || has("fine_label_names.txt") && has("train.bin") => Format::Cifar,
        () if nested("cifar-10-batches-bin", "data_batch_1.bin") => Format::Cifar,
        () if nested("cifar-100-binary", "train.bin") => Format::Cifar,
        () if has("train_x.bin") || has("unlabeled_x.bin") => Format::Stl10,
        () if nested("stl10_binary", "train_X.bin") => Format::Stl10,
        () if any(&["_32x32.mat"]) => Format::Svhn,
        () if any(&[".parquet"]) => unmixed(path, &names, ".parquet", Format::Parquet)?,
        () if has("data") && !crate::split_names(path)?.is_empty() => Format::Parquet,
        () if any(&[".tar", ".tar.gz", ".tgz"]) => unmixed(path, &names, ".tar", Format::Archive)?,
        () => Format::Folder,
    })
}

/// Refuses to choose where files of a format lie among pictures or folders of pictures.
fn unmixed(path: &Path, names: &[String], end: &str, format: Format) -> Result<Format, DataError> {
    let holds_pictures = |folder: &Path| {
        let mut inside = fs::read_dir(folder).into_iter().flatten().flatten();
        inside.any(|entry| claims_picture(&entry.file_name().to_string_lossy()))
    };
    let mut folders = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    if names.iter().any(|name| claims_picture(name))
        || folders.any(|inner| inner.is_dir() && holds_pictures(&inner))
    {
        let why = format!(
            "it holds both pictures and {end} files; --format folder takes the pictures, --format {} those files",
            if end == ".tar" { "archive" } else { "parquet" }
        );
        return Err(DataError::Source { path: path.into(), why });
    }
    Ok(format)
}

/// Items that a thread of its own makes, read ahead by `ahead`. For readers that hand
/// things out by a callback. `send` says whether anybody wants more.
pub(super) fn produced(
    name: &str,
    ahead: usize,
    work: impl FnOnce(&mut dyn FnMut(Result<Item, DataError>) -> bool) + Send + 'static,
) -> Result<impl Iterator<Item = Result<Item, DataError>> + Send, DataError> {
    let (sender, receiver) = sync_channel::<Result<Item, DataError>>(ahead);
    let what = name.to_owned();
    let run = move || {
        let mut send = |item| sender.send(item).is_ok();
        // A library's panic must not look like the end of the source.
        if guarded(|| work(&mut send)).is_none() {
            let why = format!("the {what} reader stopped: the file is damaged");
            send(Err(DataError::Source { path: what.clone().into(), why }));
        }
    };
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|e| DataError::Threads(e.to_string()))?;
    Ok(receiver.into_iter())
}

/// A hash of names, sizes and times of change.
#[derive(Default)]
pub(super) struct Signature(Sha256);

impl Signature {
    pub(super) fn file(&mut self, name: &str, about: &fs::Metadata) {
        let changed = about.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let changed = changed.map_or(0, |since| since.as_nanos());
        self.0.update(format!("{name}\0{}\0{changed}\n", about.len()));
    }

    pub(super) fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Of files that are read whole.
    pub(super) fn of_files(paths: &[PathBuf]) -> Result<String, DataError> {
        let mut signature = Self::default();
        for path in paths {
            let about = fs::metadata(path).map_err(DataError::io("reading", path))?;
            signature.file(&path.display().to_string(), &about);
        }
        Ok(signature.hex())
    }
}

/// Extensions of files that claim to be pictures, read here or not.
pub(super) fn claims_picture(name: &str) -> bool {
    const EXTENSIONS: [&str; 28] = [
        "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff", "npy", "ppm", "pgm",
        "pbm", "pnm", "pam", "heic", "heif", "avif", "jp2", "jxl", "tga", "ico", "cr2", "nef", "arw", "dng",
    ];
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Files that systems leave in folders.
pub(super) fn is_litter(name: &str) -> bool {
    name.starts_with('.') || name == "Thumbs.db" || name == "desktop.ini" || name == "__MACOSX"
}
