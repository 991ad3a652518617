//! What is in a set.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use crate::{DataError, Decoded, ImageDataset, Limits, Rules, decode_native};

/// A set, looked at from first to last.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Pictures.
    pub samples: u64,
    /// Bytes of the encoded pictures.
    pub bytes: u64,
    /// The most channels of a picture.
    pub channels: usize,
    /// Classes and how many pictures each has; numbers where classes have no names.
    pub classes: Vec<(String, u64)>,
    /// Pictures without a label.
    pub unlabelled: u64,
    /// Mean of each channel over all pixels, values in [0, 1]. Grey pictures count in all
    /// channels of a set in colour.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel over all pixels.
    pub std: Vec<f64>,
    /// Sizes (width, height) and how many pictures have them, the commonest first.
    pub sizes: Vec<((usize, usize), u64)>,
    /// Pictures that cannot be decoded: the message names shard, row and path.
    pub faults: Vec<String>,
    /// Pictures whose pixels have been there before.
    pub duplicates: u64,
    /// Those of them that were there before in another split.
    pub across: u64,
}

/// Pictures decoded together.
const CHUNK: usize = 256;

/// What one picture adds. Sums are of whole numbers, so that their order is nothing.
struct Seen {
    size: (usize, usize),
    channels: usize,
    /// Of values and of their squares, by channel.
    sums: Vec<(u64, u64)>,
    hash: [u8; 16],
}

#[derive(Default)]
struct Sums {
    pixels: u64,
    /// Of values and of their squares, by channel.
    channels: Vec<(u128, u128)>,
}

impl Summary {
    /// Decodes every picture of all `splits` of a set. Threads are those of the rayon pool
    /// that it is called in; `progress` is told how many are done.
    ///
    /// # Errors
    ///
    /// If the set cannot be read. A picture that cannot be decoded is a fault, not an error.
    pub fn of(
        splits: &[ImageDataset],
        limits: Limits,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, DataError> {
        let mut by_channels: BTreeMap<usize, Sums> = BTreeMap::new();
        let mut sizes: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut labels: BTreeMap<(usize, i64), u64> = BTreeMap::new();
        let mut hashes: HashMap<[u8; 16], usize> = HashMap::new();
        let mut n_done = 0;
        let mut summary = Self {
            samples: splits.iter().map(|set| set.len() as u64).sum(),
            bytes: 0,
            channels: 0,
            classes: Vec::new(),
            unlabelled: 0,
            mean: Vec::new(),
            std: Vec::new(),
            sizes: Vec::new(),
            faults: Vec::new(),
            duplicates: 0,
            across: 0,
        };
        let chunks = splits
            .iter()
            .enumerate()
            .flat_map(|(number, set)| (0..set.len()).step_by(CHUNK).map(move |start| (number, set, start)));
        for (number, set, start) in chunks {
            let end = (start + CHUNK).min(set.len());
            let looked: Vec<_> = (start..end)
                .into_par_iter()
                .map(|index| {
                    let sample = set.sample(index)?;
                    let seen = decode_native(sample.bytes(), Rules::STANDARD, limits).map(|p| Seen::of(&p));
                    Ok((sample.bytes().len(), sample.label(), seen))
                })
                .collect::<Result<_, DataError>>()?;
            for (index, (bytes, label, seen)) in (start..end).zip(looked) {
                summary.bytes += bytes as u64;
                match label {
                    Some(label) => *labels.entry((number, label)).or_default() += 1,
                    None => summary.unlabelled += 1,
                }
                let seen = match seen {
                    Ok(seen) => seen,
                    Err(error) => {
                        summary.faults.push(set.picture_error(index, &error.full()).to_string());
                        continue;
                    }
                };
                summary.channels = summary.channels.max(seen.channels);
                *sizes.entry(seen.size).or_default() += 1;
                if let Some(&first) = hashes.get(&seen.hash) {
                    summary.duplicates += 1;
                    summary.across += u64::from(first != number);
                } else {
                    hashes.insert(seen.hash, number);
                }
                by_channels.entry(seen.channels).or_default().add(&seen);
            }
            n_done += (end - start) as u64;
            progress(n_done);
        }
        summary.classes = by_name(splits, &labels);
        summary.sizes = sizes.into_iter().collect();
        summary.sizes.sort_by_key(|&(size, n)| (std::cmp::Reverse(n), size));
        summary.moments(&by_channels);
        Ok(summary)
    }

    fn moments(&mut self, by_channels: &BTreeMap<usize, Sums>) {
        for channel in 0..self.channels {
            let (mut n, mut sum, mut squares) = (0u128, 0u128, 0u128);
            for (&channels, sums) in by_channels {
                let of = if channels == 1 { 0 } else { channel };
                if channels == 1 || channels == self.channels {
                    n += u128::from(sums.pixels);
                    sum += sums.channels[of].0;
                    squares += sums.channels[of].1;
                }
            }
            let mean = sum as f64 / n as f64;
            // n·Σx² − (Σx)² is exact in whole numbers up to 10^15 pixels.
            let variance = (n * squares).saturating_sub(sum * sum) as f64 / (n as f64 * n as f64);
            self.mean.push(mean / 255.0);
            self.std.push(variance.sqrt() / 255.0);
        }
    }

    /// Shortest and longest width and height.
    pub fn extent(&self) -> Option<((usize, usize), (usize, usize))> {
        let widths = self.sizes.iter().map(|((width, _), _)| *width);
        let heights = self.sizes.iter().map(|((_, height), _)| *height);
        Some(((widths.clone().min()?, widths.max()?), (heights.clone().min()?, heights.max()?)))
    }
}

/// Counts of classes by name, in the order of the first split that has each. Splits may number
/// the same names differently.
fn by_name(splits: &[ImageDataset], labels: &BTreeMap<(usize, i64), u64>) -> Vec<(String, u64)> {
    let mut classes: Vec<(String, u64)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut add = |name: String, n: u64| {
        let place = *places.entry(name.clone()).or_insert_with(|| {
            classes.push((name, 0));
            classes.len() - 1
        });
        classes[place].1 += n;
    };
    for (number, set) in splits.iter().enumerate() {
        for (i, name) in set.classes().iter().enumerate() {
            add(name.clone(), labels.get(&(number, i as i64)).copied().unwrap_or_default());
        }
    }
    for (&(number, label), &n) in labels {
        if splits[number].classes().is_empty() {
            add(label.to_string(), n);
        }
    }
    classes
}

impl Seen {
    fn of(picture: &Decoded) -> Self {
        let mut sums = vec![(0u64, 0u64); picture.channels];
        for pixel in picture.data.chunks_exact(picture.channels) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                sum.0 += u64::from(value);
                sum.1 += u64::from(value) * u64::from(value);
            }
        }
        let hash = picture.hash();
        Self { size: (picture.width, picture.height), channels: picture.channels, sums, hash }
    }
}

impl Sums {
    fn add(&mut self, seen: &Seen) {
        self.channels.resize(seen.channels, (0, 0));
        self.pixels += (seen.size.0 * seen.size.1) as u64;
        for (total, &(sum, squares)) in self.channels.iter_mut().zip(&seen.sums) {
            total.0 += u128::from(sum);
            total.1 += u128::from(squares);
        }
    }
}
