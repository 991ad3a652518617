//! Labelled rows: those that teach, some of which choose, and those that are scored.

use anyhow::{Result, bail};
use byol_data::ImageDataset;
use byol_eval::every_nth_of_classes;
use byol_train::set_channels;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

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
        classes: Vec<String>,
        mut train: Vec<usize>,
        validation: Option<Vec<usize>>,
        test: Option<Vec<usize>>,
        what: &str,
    ) -> Result<Self> {
        let largest =
            [Some(&train), validation.as_ref(), test.as_ref()].into_iter().flatten().flatten().max();
        let largest = largest.copied().unwrap_or(0);
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
        Ok(Self { classes, n_classes, train, held_out, choice, test })
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
        let labels = |set: &ImageDataset| match set.labels()? {
            Some(labels) => Ok(labels),
            None => bail!(
                "{}: the `{}` split has pictures without a label; scoring needs labels",
                source.describe(),
                set.split()
            ),
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
            labels(&train)?,
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
                "note: {duplicates} of {} test pictures are in the training set too, byte by byte; scores on \
                 them say nothing about new pictures",
                test.len()
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
        let rows = Rows::new(vec![], vec![0; 40], None, Some(vec![3]), "here").unwrap();
        assert_eq!((rows.n_classes, rows.held_out.iter().filter(|held| **held).count()), (4, 4));
        let rows = Rows::new(vec![], vec![0; 40], Some(vec![1; 5]), None, "here").unwrap();
        assert_eq!((rows.train.len(), rows.held_out[39], rows.held_out[40]), (45, false, true));
        let rows = Rows::new(vec![], vec![0, 1, 0], None, None, "here").unwrap();
        assert_eq!(rows.held_out, [false, false, true]);
        assert!(Rows::new(vec![], vec![MOST_CLASSES], None, None, "here").is_err());
    }
}
