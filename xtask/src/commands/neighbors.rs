//! `neighbors`: pictures beside those that the encoder takes for the most similar.

use std::io::Cursor;

use anyhow::{Context, Result};
use byol_data::{ImageDataset, Limits, decode, write_atomic};
use byol_eval::{Features, nearest, nearest_others};
use image::ImageFormat;
use serde_json::json;

use super::evaluate::features::Extractor;
use super::preview::canvas::{self, Cell};
use crate::cli::NeighborsArgs;
use crate::compose::set_threads;
use crate::device::pick_for_encoder;
use crate::out::check_out;
use crate::subject::Subject;
use crate::terminal::{counted, say, tell};

/// A picture that asks and its neighbours, with similarities.
pub struct Asked {
    pub query: usize,
    pub found: Vec<(usize, f64)>,
}

/// Writes a PNG: a row a picture that asks, then its neighbours.
pub fn run(args: &NeighborsArgs) -> Result<()> {
    set_threads(args.how.threads)?;
    let place = pick_for_encoder(args.how.device, args.how.json)?;
    let subject = Subject::open(&args.encoder)?;
    let source = subject.source(args.data.as_deref())?;
    check_out(&args.out, [&source])?;
    let train = source.open("train")?;
    let asking = match &args.split {
        Some(split) => Some(source.open(split)?),
        None if source.has_test()? => Some(source.open_test()?),
        None => None,
    };
    let asking = asking.filter(|set| set.split() != "train");
    let channels = subject.config().in_channels;
    let subject = subject.on(place)?;
    let extractor = Extractor::new(&subject.encoder, &subject, !args.how.no_cache);
    let keys = extractor.features(&train, "training pictures")?;
    let queries = asking.as_ref().map(|set| extractor.features(set, "pictures that ask")).transpose()?;
    let asked = neighbors(&keys, queries.as_ref(), args.rows as usize, args.k as usize, args.seed)?;

    let from = asking.as_ref().unwrap_or(&train);
    let (from_labels, labels) = (from.known_labels()?, train.known_labels()?);
    let mut rows = Vec::new();
    for Asked { query, found } in &asked {
        let mut row = vec![cell(from, *query, channels, &from_labels, None)?];
        for (key, similarity) in found {
            row.push(cell(&train, *key, channels, &labels, Some(*similarity))?);
        }
        rows.push(row);
    }
    let mut png = Cursor::new(Vec::new());
    canvas::grid(&rows).write_to(&mut png, ImageFormat::Png).context("encoding the grid")?;
    write_atomic(&args.out, png.get_ref())?;
    if args.how.json {
        let of = |asked: &Asked| {
            let found: Vec<_> = asked
                .found
                .iter()
                .map(|(row, similarity)| json!({ "row": row, "cosine": similarity }))
                .collect();
            json!({ "query": asked.query, "neighbors": found })
        };
        let asked: Vec<_> = asked.iter().map(of).collect();
        say(&json!({ "out": args.out, "split": from.split(), "device": subject.place.name(), "asked": asked }).to_string());
    } else {
        tell(&format!(
            "{}: {} of `{}`, each with its {} nearest of `train` by cosine of y",
            args.out.display(),
            counted(rows.len(), "picture"),
            from.split(),
            asked.first().map_or(0, |asked| asked.found.len())
        ));
    }
    Ok(())
}

/// Some rows that ask, spread over all and moved by `seed`, and the nearest to each.
pub fn neighbors(
    keys: &Features,
    queries: Option<&Features>,
    rows: usize,
    k: usize,
    seed: u64,
) -> Result<Vec<Asked>> {
    let n = queries.unwrap_or(keys).len();
    let rows = rows.min(n);
    let shift = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) as usize % n;
    let mut asking: Vec<usize> = (0..rows).map(|i| (i * n / rows + shift) % n).collect();
    asking.sort_unstable();
    let found = match queries {
        Some(queries) => nearest(keys, &queries.pick(&asking)?, k)?,
        None => {
            let all = nearest_others(keys, k);
            asking.iter().map(|query| all[*query].clone()).collect()
        }
    };
    Ok(asking.into_iter().zip(found).map(|(query, found)| Asked { query, found }).collect())
}

fn cell(
    set: &ImageDataset,
    index: usize,
    channels: usize,
    labels: &[Option<i64>],
    similarity: Option<f64>,
) -> Result<Cell> {
    let sample = set.sample(index)?;
    let picture =
        decode(sample.bytes(), channels, Limits::STANDARD).map_err(|e| set.picture_error(index, &e))?;
    let class = labels.get(index).copied().flatten().map(|label| {
        let name = usize::try_from(label).ok().and_then(|label| set.classes().get(label));
        name.cloned().unwrap_or_else(|| label.to_string())
    });
    let mut lines = Vec::new();
    lines.extend(similarity.map(|similarity| format!("cosine {similarity:.3}")));
    lines.extend(class);
    if similarity.is_none() {
        lines.push(sample.path().to_owned());
    }
    Ok(Cell { picture: canvas::from_pixels(&picture), lines })
}
