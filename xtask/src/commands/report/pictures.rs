//! What the encoder makes of some pictures: neighbours, and places in a plane.

use anyhow::Result;
use byol_data::{ImageDataset, Limits, decode};
use byol_eval::{Features, extract_some};

use super::super::evaluate::features::Extractor;
use super::super::neighbors::{Asked, neighbors};
use super::super::preview::canvas::from_pixels;
use super::html::{escape, thumbnail};
use super::plane::plane;
use crate::compose::Source;
use crate::subject::Subject;
use crate::terminal::Progress;

/// Sets up to so many pictures are looked at whole, and kept in the cache.
const WHOLE: usize = 20_000;
/// Of larger ones so many.
const SOME: usize = 5000;
/// Pictures with their representations.
pub struct Looked {
    pub set: ImageDataset,
    rows: Vec<usize>,
    pub features: Features,
    pub labels: Vec<Option<usize>>,
}

impl Looked {
    /// Of its class.
    pub fn name(&self, row: usize) -> Option<String> {
        let label = self.labels[row]?;
        Some(self.set.classes().get(label).cloned().unwrap_or_else(|| label.to_string()))
    }

    pub fn thumbnail(&self, row: usize, channels: usize, side: u32) -> Result<String> {
        let index = self.rows[row];
        let sample = self.set.sample(index)?;
        let picture = decode(sample.bytes(), channels, Limits::STANDARD)
            .map_err(|e| self.set.picture_error(index, &e))?;
        Ok(thumbnail(&from_pixels(&picture), side))
    }
}

/// The sections about pictures; `points` of them are drawn in the plane.
pub fn sections(subject: &Subject, source: &Source, points: usize, cached: bool) -> Result<String> {
    let channels = subject.config().in_channels;
    let extractor = Extractor::new(&subject.encoder, subject, cached);
    let device = &subject.place.device;
    let look = |split: &str| -> Result<Looked> {
        let set = source.open(split)?;
        let (rows, features) = if set.len() <= WHOLE {
            ((0..set.len()).collect(), extractor.features(&set, &format!("{split} pictures"))?)
        } else {
            let rows: Vec<usize> = (0..SOME).map(|i| i * set.len() / SOME).collect();
            let progress = Progress::bar(rows.len() as u64, &format!("some {split} pictures"));
            let features =
                extract_some(&subject.encoder, &set, &rows, &subject.transform, channels, device, |done| {
                    progress.set(done as u64);
                })?;
            progress.finish();
            (rows, features)
        };
        let known = set.known_labels()?;
        let labels = rows.iter().map(|i| known[*i].and_then(|label| usize::try_from(label).ok())).collect();
        Ok(Looked { set, rows, features, labels })
    };
    let names = source.split_names()?;
    let known = subject.plan.as_ref().map(|plan| plan.data.split.clone());
    let teach = known.filter(|split| names.contains(split)).unwrap_or_else(|| names[0].clone());
    let keys = look(&teach)?;
    let asking = if source.has_test()? {
        let split = source.open_test()?.split().to_owned();
        (split != teach).then(|| look(&split)).transpose()?
    } else {
        None
    };
    let mut out = neighbours(&keys, asking.as_ref(), channels)?;
    out.push_str(&plane(asking.as_ref().unwrap_or(&keys), channels, points)?);
    Ok(out)
}

fn neighbours(keys: &Looked, asking: Option<&Looked>, channels: usize) -> Result<String> {
    const SIDE: u32 = 72;
    let from = asking.unwrap_or(keys);
    let asked = neighbors(&keys.features, asking.map(|asking| &asking.features), 8, 7, 0)?;
    let mut out = format!(
        "<section><h2>Nearest pictures</h2><p>On the left pictures of <b>{}</b>, then those of <b>{}</b> with the \
         most similar representation (cosine). Nothing was chosen.</p><div class=\"scroll\"><table \
         class=\"neighbors\">",
        escape(from.set.split()),
        escape(keys.set.split())
    );
    for Asked { query, found } in asked {
        let own = from.name(query);
        let image = |source: String, class: &str, text: String| {
            format!("<td class=\"{class}\"><img alt=\"\" src=\"{source}\"><br>{}</td>", escape(&text))
        };
        out.push_str("<tr>");
        let label = own.clone().unwrap_or_default();
        out.push_str(&image(from.thumbnail(query, channels, SIDE)?, "query", label));
        for (row, cosine) in found {
            let name = keys.name(row);
            let class = match (&own, &name) {
                (Some(a), Some(b)) if a == b => "same",
                (Some(_), Some(_)) => "other",
                _ => "",
            };
            let text = format!("{cosine:.3} {}", name.unwrap_or_default());
            out.push_str(&image(keys.thumbnail(row, channels, SIDE)?, class, text));
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div></section>");
    Ok(out)
}
