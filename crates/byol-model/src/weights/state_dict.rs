//! The tensors of a file, by name and not yet read, whatever the format.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use safetensors::SafeTensors;

use super::files::{DESCRIPTION, unreadable};
use crate::ModelError;

/// A tensor of a file.
pub(super) struct Stored {
    /// As the file's format names it, in capitals: `F32`, `I64`.
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Little-endian, row by row.
    pub read: Box<dyn Fn() -> Result<Vec<u8>, ModelError>>,
}

/// The tensors of a file.
pub(super) struct StateDict {
    pub tensors: BTreeMap<String, Stored>,
    /// What stands under our key in the metadata.
    pub description: Option<String>,
}

/// Pickles begin with their protocol, 2 and later; archives of PyTorch are zip files.
const ZIP: &[u8] = b"PK";
const PICKLE: &[u8] = &[0x80];

/// A header of JSON, its length before it; that length may look like anything.
fn is_safetensors(start: &[u8], file_len: u64) -> bool {
    match start.split_first_chunk::<8>() {
        Some((length, b"{")) => u64::from_le_bytes(*length) <= file_len.saturating_sub(8),
        _ => false,
    }
}

impl StateDict {
    /// Opens safetensors, or what `torch.save` wrote; the content says which.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let failed = |why: String| ModelError::Unreadable(format!("{}: {why}", path.display()));
        let there = fs::metadata(path).map_err(|e| failed(e.to_string()))?;
        if !there.is_file() {
            return Err(failed("it is no plain file; name a .safetensors or .pth file".into()));
        }
        let mut start = Vec::new();
        let file = File::open(path).map_err(|e| failed(e.to_string()))?;
        file.take(9).read_to_end(&mut start).map_err(|e| failed(e.to_string()))?;
        let pytorch = start.starts_with(ZIP) || start.starts_with(PICKLE);
        if pytorch && !is_safetensors(&start, there.len()) {
            return Self::pytorch(path);
        }
        let bytes = fs::read(path).map_err(|e| failed(e.to_string()))?;
        Self::safetensors(bytes).map_err(|e| match e {
            ModelError::Unreadable(why) => {
                failed(format!("neither a safetensors file nor one of PyTorch's, or damaged ({why})"))
            }
            other => other,
        })
    }

    #[cfg(feature = "pytorch")]
    fn pytorch(path: &Path) -> Result<Self, ModelError> {
        super::pytorch::open(path)
    }

    #[cfg(not(feature = "pytorch"))]
    fn pytorch(path: &Path) -> Result<Self, ModelError> {
        let why = "a file of PyTorch's, and byol-model was built without its feature `pytorch`";
        Err(ModelError::Unreadable(format!("{}: {why}", path.display())))
    }

    fn safetensors(bytes: Vec<u8>) -> Result<Self, ModelError> {
        let (n, header) = SafeTensors::read_metadata(&bytes).map_err(unreadable)?;
        // Checks that the tensors cover the file.
        SafeTensors::deserialize(&bytes).map_err(unreadable)?;
        let description = header.metadata().as_ref().and_then(|m| m.get(DESCRIPTION)).cloned();
        let bytes = std::sync::Arc::new(bytes);
        let tensors = header.tensors().into_iter().map(|(name, info)| {
            let bytes = bytes.clone();
            // Eight bytes of length, the header, then the tensors.
            let (from, to) = info.data_offsets;
            let read = move || {
                let data = bytes.get(8 + n + from..8 + n + to);
                data.map(<[u8]>::to_vec).ok_or_else(|| ModelError::Unreadable("the file is cut".into()))
            };
            let stored = Stored {
                dtype: format!("{:?}", info.dtype),
                shape: info.shape.clone(),
                read: Box::new(read),
            };
            (name, stored)
        });
        Ok(Self { tensors: tensors.collect(), description })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_known_whatever_its_length() {
        // 0x80 is the first byte of a pickle, too.
        assert!(is_safetensors(b"\x80\x02\0\0\0\0\0\0{", 1000));
        assert!(!is_safetensors(b"\x80\x02\0\0\0\0\0\0{", 100));
        assert!(!is_safetensors(b"PK\x03\x04\0\0\0\0\0", 1000));
        assert!(!is_safetensors(b"", 0));
    }
}
