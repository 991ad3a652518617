//! Labelled rows: those that teach, some of which choose, and those that are scored.

use anyhow::{Result, bail};
use byol_data::ImageDataset;
use byol_eval::every_nth_of_classes;
use byol_train::set_channels;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

use crate::compose::Source;
use crate::subject::Subject;
use crate::terminal::tell;

/// One in so many training rows is held out to choose by, where there is no validation split.
const HELD_OUT: usize = 10;
/// Labels are below.
const MOST_CLASSES: usize = 100_000;

/// Labels of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Names, or none where labels are numbers.
    pub classes: Vec<String>,
    pub n_classes: usize,
    /// What each class is to the data, where that is not its place.
    numbers: Vec<usize>,
    /// Of the training rows, then those of a validation split.
    pub train: Vec<usize>,
    /// Which of them choose.
    pub held_out: Vec<bool>,
    /// How they were chosen, for people.
    pub choice: String,
    /// Of the test rows; none where each training row is scored by the others.
    pub test: Option<Vec<usize>>,
}

impl Rows {
    /// Of training, validation and test labels.
    pub fn new(
        mut classes: Vec<String>,
        mut train: Vec<usize>,
        mut validation: Option<Vec<usize>>,
        mut test: Option<Vec<usize>>,
        what: &str,
    ) -> Result<Self> {
        let mut parts: Vec<&mut Vec<usize>> =
            [Some(&mut train), validation.as_mut(), test.as_mut()].into_iter().flatten().collect();
        let labels: BTreeSet<usize> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let most = labels.last().copied().unwrap_or(0);
        let mut numbers = Vec::new();
        // Numbers with gaps are names: what no row has costs nothing.
        if classes.is_empty() && labels.len() <= most {
            let dense: HashMap<usize, usize> =
                labels.iter().enumerate().map(|(i, label)| (*label, i)).collect();
            parts.iter_mut().flat_map(|part| part.iter_mut()).for_each(|label| *label = dense[label]);
            classes = labels.iter().map(ToString::to_string).collect();
            numbers = labels.into_iter().collect();
        }
        let largest = parts.iter().flat_map(|part| part.iter().copied()).max().unwrap_or(0);
        let n_classes = classes.len().max(largest + 1);
        if n_classes > MOST_CLASSES {
            bail!("{what}: a label of {largest}, more than classes can be");
        }
        let (held_out, choice) = match validation {
            Some(validation) => {
                let held_out = [vec![false; train.len()], vec![true; validation.len()]].concat();
                let choice = format!("the {} of the validation split", validation.len());
                train.extend(validation);
                (held_out, choice)
            }
            None => {
                // Few rows are halved.
                let nth = HELD_OUT.min((train.len() / 2).max(2));
                (every_nth_of_classes(&train, nth), format!("one training row in {nth} of each class"))
            }
        };
        Ok(Self { classes, n_classes, numbers, train, held_out, choice, test })
    }

    /// The label of a class in the data.
    pub fn label(&self, class: usize) -> usize {
        self.numbers.get(class).copied().unwrap_or(class)
    }

    /// What a class is called.
    pub fn name(&self, class: usize) -> String {
        self.classes.get(class).cloned().unwrap_or_else(|| class.to_string())
    }
}

/// Pictures with labels.
pub struct Pictures {
    pub train: ImageDataset,
    pub validation: Option<ImageDataset>,
    pub test: Option<ImageDataset>,
    pub rows: Rows,
}

impl Pictures {
    /// The splits of a set. Without one to score on, an error unless `alone`.
    pub fn open(source: &Source, alone: bool) -> Result<Self> {
        let train = source.open("train")?;
        let labels = |set: &ImageDataset| match set.labels()? {
            Some(labels) => Ok(labels),
            None => bail!(
                "{}: the `{}` split has pictures without a label; scoring needs labels",
                source.describe(),
                set.split()
            ),
        };
        let train_labels = labels(&train)?;
        let test = match source.has_test()? {
            true => Some(source.open_test()?),
            false if alone => None,
            false => bail!(
                "{}: there is no split to score on (test or validation). Make one with ingest --val 0.2; \
                 of a labelled set without one there is the command knn",
                source.describe()
            ),
        };
        let names = source.split_names()?;
        let scored = test.as_ref().map(ImageDataset::split);
        let spare = ["validation", "valid", "val"].into_iter().find(|name| names.iter().any(|n| n == name));
        let validation = match spare.filter(|name| scored.is_some_and(|scored| scored != *name)) {
            Some(name) => Some(source.open(name)?),
            None => None,
        };
        for other in [&validation, &test].into_iter().flatten() {
            if train.classes() != other.classes() {
                bail!(
                    "{}: the splits `train` and `{}` name different classes: {:?} and {:?}",
                    source.describe(),
                    other.split(),
                    train.classes(),
                    other.classes()
                );
            }
        }
        let rows = Rows::new(
            train.classes().to_vec(),
            train_labels,
            validation.as_ref().map(labels).transpose()?,
            test.as_ref().map(labels).transpose()?,
            &source.describe(),
        )?;
        Ok(Self { train, validation, test, rows })
    }

    /// That the encoder can look at the pictures: grey ones are shown to any as they are.
    pub fn check_channels(&self, subject: &Subject) -> Result<()> {
        let asked = subject.config().in_channels;
        for set in self.teaching().into_iter().chain(self.test.as_ref()) {
            let found = set_channels(set)?;
            if found != asked && found != 1 {
                bail!(
                    "{}: pictures of `{}` have {found} channels, and the encoder ({}) takes {asked}",
                    subject.name,
                    set.split(),
                    subject.config().name()
                );
            }
        }
        Ok(())
    }

    /// What the pictures that are scored are called.
    pub fn scored_name(&self) -> String {
        match self.test.as_ref().map(ImageDataset::split) {
            None | Some("test") => "test pictures".into(),
            Some(split) => format!("pictures of the split `{split}`"),
        }
    }

    /// The sets whose rows teach, in the order of [`Rows::train`].
    pub fn teaching(&self) -> Vec<&ImageDataset> {
        [Some(&self.train), self.validation.as_ref()].into_iter().flatten().collect()
    }

    /// How many test pictures are in the training set too, byte by byte.
    pub fn duplicates(&self) -> Result<usize> {
        let Some(test) = &self.test else { return Ok(0) };
        let hash = |set: &ImageDataset, i: usize| -> Result<[u8; 32]> {
            Ok(Sha256::digest(set.sample(i)?.bytes()).into())
        };
        let mut seen: HashMap<[u8; 32], ()> = HashMap::new();
        for set in self.teaching() {
            for i in 0..set.len() {
                seen.insert(hash(set, i)?, ());
            }
        }
        let mut duplicates = 0;
        for i in 0..test.len() {
            duplicates += usize::from(seen.contains_key(&hash(test, i)?));
        }
        Ok(duplicates)
    }

    /// Says what is so.
    pub fn tell_duplicates(&self) -> Result<usize> {
        let duplicates = self.duplicates()?;
        if let Some(test) = self.test.as_ref().filter(|_| duplicates > 0) {
            tell(&format!(
                "note: {duplicates} of {} {} are in the training set too, byte by byte; scores on \
                 them say nothing about new pictures",
                test.len(),
                self.scored_name()
            ));
        }
        Ok(duplicates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_rows_choose_and_else_every_tenth() {
        let rows = Rows::new(vec![], vec![0; 40], None, Some(vec![1]), "here").unwrap();
        assert_eq!((rows.n_classes, rows.held_out.iter().filter(|held| **held).count()), (2, 4));
        let rows = Rows::new(vec![], vec![0; 40], Some(vec![1; 5]), None, "here").unwrap();
        assert_eq!((rows.train.len(), rows.held_out[39], rows.held_out[40]), (45, false, true));
        let rows = Rows::new(vec![], vec![0, 1, 0], None, None, "here").unwrap();
        assert_eq!(rows.held_out, [false, false, true]);
        let all = (0..=MOST_CLASSES).collect();
        assert!(Rows::new(vec![], all, None, None, "here").is_err());
    }

    #[test]
    fn numbers_with_gaps_are_names() {
        let rows = Rows::new(vec![], vec![7, 90_000_000, 7], None, Some(vec![12, 7]), "here").unwrap();
        assert_eq!((rows.n_classes, &rows.train, &rows.test), (3, &vec![0, 2, 0], &Some(vec![1, 0])));
        assert_eq!([0, 1, 2].map(|class| rows.name(class)), ["7", "12", "90000000"]);
        assert_eq!([0, 1, 2].map(|class| rows.label(class)), [7, 12, 90_000_000]);
        // Named classes keep their places, whoever is there.
        let named = vec!["a".to_owned(), "b".into(), "c".into()];
        let rows = Rows::new(named, vec![2, 2], None, None, "here").unwrap();
        assert_eq!((rows.n_classes, rows.train), (3, vec![2, 2]));
    }
}
