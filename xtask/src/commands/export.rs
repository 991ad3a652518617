use anyhow::Result;
use byol_model::{encoder_bytes, named_tensors, onnx_bytes, write_atomic};
use serde_json::json;

use crate::cli::{ExportArgs, ExportFormat};
use crate::exit::Usage;
use crate::out::check_out;
use crate::subject::Subject;

/// Writes an encoder to a file.
pub fn run(args: &ExportArgs) -> Result<()> {
    let subject = Subject::open(&args.encoder)?;
    check_out(&args.out, [])?;
    let named = args.encoder.weights.as_deref().map(std::path::Path::new);
    if let Some(from) = named.and_then(|path| path.canonicalize().ok())
        && args.out.canonicalize().is_ok_and(|out| out == from)
    {
        return Err(Usage(format!("--out {}: that is the file that is read", args.out.display())).into());
    }
    let (encoder, description) = (&subject.encoder, &subject.description);
    let bytes = match args.format {
        ExportFormat::Safetensors => encoder_bytes(encoder, description)?,
        ExportFormat::Onnx => onnx_bytes(encoder, subject.config(), description)?,
    };
    write_atomic(&args.out, &bytes)?;
    let n_tensors = named_tensors(encoder).len();
    if args.json {
        let format = match args.format {
            ExportFormat::Safetensors => "safetensors",
            ExportFormat::Onnx => "onnx",
        };
        let result = json!({
            "out": args.out,
            "format": format,
            "bytes": bytes.len(),
            "tensors": n_tensors,
            "description": description,
        });
        crate::terminal::say(&format!("{result}"));
        return Ok(());
    }
    let preprocessing = &description.preprocessing;
    crate::terminal::say(&format!(
        "{}: {} of {}, {n_tensors} tensors, {:.1} MB",
        args.out.display(),
        description.architecture,
        subject.name,
        bytes.len() as f64 / 1e6
    ));
    crate::terminal::say(&format!(
        "input {0} x {0} pixels of {1} channel{2}, mean {3:?}, std {4:?}; representation of {5} values",
        preprocessing.size,
        subject.config().in_channels,
        if subject.config().in_channels == 1 { "" } else { "s" },
        preprocessing.normalize.mean,
        preprocessing.normalize.std,
        subject.config().dim()?,
    ));
    Ok(())
}
