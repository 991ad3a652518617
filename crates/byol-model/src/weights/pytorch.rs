//! What `torch.save` wrote: .pth, .pt, .ckpt. Nothing in it is ever run.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use pytorch_reader::{DType, FileFormat, MAX_PICKLE_SIZE, PytorchReader, Tensor};
use zip::ZipArchive;

use super::pickle::{self, Pickles};
use super::state_dict::{StateDict, Stored};
use crate::ModelError;

/// Opens a checkpoint. Nested dictionaries become dotted names.
pub(super) fn open(path: &Path) -> Result<StateDict, ModelError> {
    let failed = |why: String| ModelError::Unreadable(format!("{}: {why}", path.display()));
    let (bytes, pickles) = pickle_bytes(path).map_err(failed)?;
    if let Some(call) = pickle::foreign_call(&bytes, pickles) {
        return Err(failed(format!(
            "it asks to call `{call}` when it is opened, which weights have no need of; refused, and nothing \
             was run. Where the file can be trusted, save its weights alone from Python: \
             torch.save(model.state_dict(), \"weights.pth\")"
        )));
    }
    let reader = PytorchReader::new(path).map_err(|e| {
        failed(format!(
            "damaged, or with things in it that cannot be read here ({e}); the weights alone can: \
             torch.save(model.state_dict(), \"weights.pth\")"
        ))
    })?;
    if reader.metadata().format_type == FileFormat::Tar {
        return Err(failed(
            "the format of PyTorch before 0.1.10; open it in PyTorch and save it again".into(),
        ));
    }
    let tensors = reader.into_tensors().into_iter().map(|(name, tensor)| (name, stored(tensor)));
    Ok(StateDict { tensors: tensors.collect(), description: None })
}

fn stored(tensor: Tensor) -> Stored {
    let dtype = match tensor.dtype() {
        DType::Bool => "BOOL".to_owned(),
        other => format!("{other:?}"),
    };
    let shape = tensor.shape().to_vec();
    let read = move || {
        let bytes = tensor.read().map_err(|e| ModelError::Unreadable(e.to_string()))?;
        // `read` gives the machine's byte order; ours is little-endian.
        let width = if cfg!(target_endian = "big") { tensor.dtype().size() } else { 1 };
        Ok(bytes.chunks(width).flat_map(|value| value.iter().rev()).copied().collect())
    };
    Stored { dtype, shape, read: Box::new(read) }
}

/// The part of the file that an unpickler would follow.
fn pickle_bytes(path: &Path) -> Result<(Vec<u8>, Pickles), String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let mut start = [0; 2];
    file.read_exact(&mut start).map_err(|_| "the file is cut".to_owned())?;
    let mut bytes = Vec::new();
    if start == *b"PK" {
        let mut archive = ZipArchive::new(file).map_err(|e| format!("damaged archive ({e})"))?;
        for i in 0..archive.len() {
            let entry = archive.by_index(i).map_err(|e| format!("damaged archive ({e})"))?;
            if !entry.name().map_err(|e| format!("damaged archive ({e})"))?.ends_with(".pkl") {
                continue;
            }
            let read = entry.take(MAX_PICKLE_SIZE).read_to_end(&mut bytes);
            read.map_err(|e| format!("damaged archive ({e})"))?;
        }
        Ok((bytes, Pickles::All))
    } else {
        bytes.extend(start);
        file.take(MAX_PICKLE_SIZE).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        Ok((bytes, Pickles::Leading))
    }
}
