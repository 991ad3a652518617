//! Representations as points of a plane.

use std::fmt::Write;

use anyhow::Result;
use bhtsne::{Neighbor, tSNE};
use byol_eval::{Features, nearest_others, principal_plane};

use super::html::escape;
use super::pictures::Looked;
use crate::terminal::Progress;

/// Colours of classes; more classes share them.
const COLORS: usize = 10;
/// Side of the plane.
const SIZE: f64 = 560.0;

/// The section: along principal components, and by t-SNE at the press of a button.
pub fn plane(looked: &Looked, channels: usize, points: usize) -> Result<String> {
    let plane = principal_plane(&looked.features)?;
    let n = plane.points.len();
    let points = points.min(n);
    let shown: Vec<usize> = (0..points).map(|i| i * n / points).collect();
    let along: Vec<[f64; 2]> = shown.iter().map(|row| plane.points[*row]).collect();
    let spread = neighbourhoods(&looked.features.pick(&shown)?, &along).map(|points| placed(&points));
    let along = placed(&along);
    let [first, second] = plane.explained.map(|share| 100.0 * share);
    let mut out = format!(
        "<section><h2>Representations in a plane</h2><p>{points} pictures of <b>{}</b> along the two principal \
         components of their representations ({first:.0} % and {second:.0} % of the variance){}. Point at one to see \
         it.</p>{}<div class=\"plane\"><svg class=\"points\" viewBox=\"0 0 {SIZE} {SIZE}\" role=\"img\" \
         aria-label=\"projection\">",
        escape(looked.set.split()),
        if spread.is_some() { TSNE_WORDS } else { "" },
        if spread.is_some() { BUTTONS } else { "" },
    );
    for (i, row) in shown.iter().enumerate() {
        let [x, y] = along[i];
        let color = looked.labels[*row].map_or("c0".to_owned(), |label| format!("k{}", label % COLORS));
        let name = looked.name(*row).unwrap_or_default();
        let _ = write!(
            out,
            "<circle class=\"{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"{} data-name=\"{}\" data-picture=\"{}\"/>",
            spread.as_ref().map_or(String::new(), |points| {
                let [x, y] = points[i];
                format!(" data-tsne=\"{x:.1} {y:.1}\"")
            }),
            escape(&name),
            looked.thumbnail(*row, channels, 48)?
        );
    }
    out.push_str("</svg><div class=\"tip\" hidden><img alt=\"\"><span></span></div></div>");
    let classes = looked.set.classes();
    if !classes.is_empty() && looked.labels.iter().any(Option::is_some) {
        out.push_str("<p class=\"legend\">");
        for (class, name) in classes.iter().enumerate().take(40) {
            let _ = write!(out, "<span class=\"key k{}\">{}</span> ", class % COLORS, escape(name));
        }
        out.push_str("</p>");
    }
    out.push_str("</section>");
    Ok(out)
}

const TSNE_WORDS: &str = ", or by t-SNE, which keeps neighbours together and means nothing by distances";
const BUTTONS: &str = "<p class=\"choice\"><button class=\"on\" data-by=\"pca\">principal components</button> <button \
                       data-by=\"tsne\">t-SNE</button></p>";

/// Points within the plane, y upwards.
fn placed(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let ends = [0, 1].map(|axis| {
        let of = points.iter().map(|point| point[axis]);
        of.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    });
    let place = |point: &[f64; 2], axis: usize| {
        let (low, high) = ends[axis];
        12.0 + (point[axis] - low) / (high - low).max(1e-12) * (SIZE - 24.0)
    };
    points.iter().map(|point| [place(point, 0), SIZE - place(point, 1)]).collect()
}

/// t-SNE (van der Maaten and Hinton 2008; Barnes-Hut, θ = 0.5) of the directions of the rows,
/// perplexity 30, from their principal plane: nothing is random, and on one thread the sums are
/// the same each time. None of fewer than ten rows, or of rows that are all one.
fn neighbourhoods(features: &Features, start: &[[f64; 2]]) -> Option<Vec<[f64; 2]>> {
    const FEWEST: usize = 10;
    const PERPLEXITY: usize = 30;
    let n = features.len();
    let spread = (start.iter().map(|point| point[0] * point[0]).sum::<f64>() / n as f64).sqrt();
    if n < FEWEST || spread.is_nan() || spread < 1e-9 {
        return None;
    }
    let perplexity = ((n - 1) / 3).min(PERPLEXITY);
    // Between directions, of the cosine.
    let neighbors: Vec<Vec<Neighbor<f32>>> = nearest_others(features, 3 * perplexity)
        .into_iter()
        .map(|row| {
            let of = |(index, cosine): (usize, f64)| Neighbor {
                index,
                distance: (2.0 - 2.0 * cosine).max(0.0).sqrt() as f32,
            };
            row.into_iter().map(of).collect()
        })
        .collect();
    // As scikit-learn begins: 1e-4 along the first component.
    let from: Vec<f32> = start.iter().flatten().map(|x| (1e-4 * x / spread) as f32).collect();
    let progress = Progress::spinner("t-SNE");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().ok()?;
    let rows: Vec<usize> = (0..n).collect();
    let made: Vec<f32> = pool.install(|| {
        let mut tsne: tSNE<'_, f32, usize> = tSNE::new(&rows);
        tsne.perplexity(perplexity as f32).initial_embedding(from);
        tsne.barnes_hut_with_neighbors(0.5, &neighbors).embedding()
    });
    progress.finish();
    let whole = made.len() == 2 * n && made.iter().all(|x| x.is_finite());
    whole.then(|| made.chunks_exact(2).map(|point| [f64::from(point[0]), f64::from(point[1])]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use byol_eval::principal_plane;

    /// Three heaps in eight dimensions.
    fn heaps(n: usize) -> Features {
        let value = |row: usize, i: usize| {
            let noise = ((row * 31 + i * 17) % 23) as f32 / 100.0;
            if i == row % 3 { 1.0 + noise } else { noise }
        };
        Features::new(8, (0..n).flat_map(|row| (0..8).map(move |i| value(row, i))).collect()).unwrap()
    }

    #[test]
    fn heaps_stay_apart_the_same_way_each_time() {
        for n in [12, 150] {
            let features = heaps(n);
            let start = principal_plane(&features).unwrap().points;
            let points = neighbourhoods(&features, &start).unwrap();
            assert_eq!(points, neighbourhoods(&features, &start).unwrap());
            let near = |i: usize| {
                let gap = |j: &usize| (points[i][0] - points[*j][0]).hypot(points[i][1] - points[*j][1]);
                (0..n).filter(|j| *j != i).min_by(|a, b| gap(a).total_cmp(&gap(b))).unwrap()
            };
            let right = (0..n).filter(|i| near(*i) % 3 == i % 3).count();
            assert!(right * 100 >= n * 95, "{right} of {n}");
        }
    }

    #[test]
    fn what_has_no_neighbourhoods_has_none() {
        let few = heaps(9);
        assert_eq!(neighbourhoods(&few, &principal_plane(&few).unwrap().points), None);
        let one = Features::new(2, vec![1.0; 60]).unwrap();
        assert_eq!(neighbourhoods(&one, &principal_plane(&one).unwrap().points), None);
        // Two points, each many times.
        let two = Features::new(2, (0..60).map(|i| f32::from(u8::from(i % 4 < 2)) + 0.5).collect()).unwrap();
        let made = neighbourhoods(&two, &principal_plane(&two).unwrap().points);
        assert!(made.is_none_or(|points| points.len() == 30));
    }
}
