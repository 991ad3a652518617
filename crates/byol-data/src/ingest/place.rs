//! Which split and class a path is of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::Labels;
use crate::dataset::split_of_word;

/// Split and class of paths, where lists beside the pictures say them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    /// By path: the split, and the class if there is one.
    pub by_path: BTreeMap<String, (String, Option<usize>)>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

impl Assignment {
    pub(super) fn signature(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for (path, (split, class)) in &self.by_path {
            hash.update(format!("{path}\0{split}\0{class:?}\n"));
        }
        hash.update(self.classes.join("\0"));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Where a picture belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) split: Arc<str>,
    pub(super) label: Option<i64>,
}

/// Folders that stand beside splits and are some themselves.
const BESIDE_SPLITS: [&str; 4] = ["unlabeled", "unlabelled", "extra", "unsup"];

/// The places of pictures by their paths.
pub(super) struct Places {
    /// Folders before what counts, with their `/`.
    prefix: String,
    /// Whether the first folder after it is a split.
    splits: bool,
    classes: Vec<String>,
    assignment: Option<Assignment>,
}

impl Places {
    /// Of all the paths that there are. `wrapped`: a folder that everything lies in is the
    /// archive's wrapping and no class.
    pub(super) fn of<'a>(
        paths: impl Iterator<Item = &'a str> + Clone,
        wrapped: bool,
        assignment: Option<&Assignment>,
    ) -> Self {
        if let Some(assignment) = assignment {
            return Self {
                prefix: String::new(),
                splits: false,
                classes: assignment.classes.clone(),
                assignment: Some(assignment.clone()),
            };
        }
        let mut prefix = String::new();
        loop {
            let folders: BTreeSet<Option<&str>> =
                paths.clone().map(|path| Some(path[prefix.len()..].split_once('/')?.0)).collect();
            let [Some(only)] = folders.iter().copied().collect::<Vec<_>>()[..] else { break };
            let inside = prefix.len() + only.len() + 1;
            let has_train = paths.clone().any(|path| {
                path[inside..]
                    .split_once('/')
                    .is_some_and(|(folder, _)| split_of_word(folder) == Some("train"))
            });
            if split_of_word(only).is_some() || !(wrapped || has_train) {
                break;
            }
            prefix.push_str(only);
            prefix.push('/');
        }
        let first = |path: &'a str| path[prefix.len()..].split_once('/').map(|(folder, _)| folder);
        let firsts: BTreeSet<&str> = paths.clone().filter_map(first).collect();
        // `train` beside `bus` and `car`, without folders inside, is a class like them.
        let is_split = |folder: &str| split_of_word(folder).is_some() || BESIDE_SPLITS.contains(&folder);
        let nested = paths.clone().any(|path| {
            let rest = path[prefix.len()..].split_once('/');
            rest.is_some_and(|(folder, inner)| split_of_word(folder) == Some("train") && inner.contains('/'))
        });
        let splits = !firsts.is_empty() && firsts.iter().all(|folder| is_split(folder)) || nested;
        let mut places = Self { prefix, splits, classes: Vec::new(), assignment: None };
        let classes: BTreeSet<&str> = paths.filter_map(|path| places.split_and_class(path).1).collect();
        places.classes = classes.into_iter().map(str::to_owned).collect();
        places
    }

    pub(super) fn labels(&self) -> Labels {
        if self.classes.is_empty() { Labels::None } else { Labels::Classes(self.classes.clone()) }
    }

    /// Nothing where an assignment leaves the path out.
    pub(super) fn of_path(&self, path: &str) -> Option<Placed> {
        if let Some(assignment) = &self.assignment {
            let (split, class) = assignment.by_path.get(path)?;
            return Some(Placed { split: split.as_str().into(), label: class.map(|class| class as i64) });
        }
        let (split, class) = self.split_and_class(path);
        let label = class.and_then(|class| self.classes.binary_search_by(|c| c.as_str().cmp(class)).ok());
        Some(Placed { split: split.into(), label: label.map(|label| label as i64) })
    }

    fn split_and_class<'a>(&self, path: &'a str) -> (&'a str, Option<&'a str>) {
        let mut rest = path.strip_prefix(self.prefix.as_str()).unwrap_or(path);
        let mut split = "train";
        if self.splits {
            match rest.split_once('/') {
                Some((folder, inner)) => (split, rest) = (split_of_word(folder).unwrap_or(folder), inner),
                None => return ("train", None), // beside the folders
            }
        }
        (split, rest.split_once('/').map(|(class, _)| class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(paths: &[&str], wrapped: bool) -> Vec<String> {
        let places = Places::of(paths.iter().copied(), wrapped, None);
        let name = |label: i64| places.classes[label as usize].clone();
        paths
            .iter()
            .map(|path| {
                let placed = places.of_path(path).unwrap();
                format!("{}:{}", placed.split, placed.label.map_or("-".into(), name))
            })
            .collect()
    }

    #[test]
    fn folders_are_classes_and_splits() {
        assert_eq!(placed(&["a.png", "b.png"], false), ["train:-", "train:-"]);
        assert_eq!(placed(&["cat/a.png", "dog/x/b.png"], false), ["train:cat", "train:dog"]);
        assert_eq!(placed(&["cat/a.png"], false), ["train:cat"]);
        assert_eq!(placed(&["cat/a.png", "b.png"], false), ["train:cat", "train:-"]);
        assert_eq!(
            placed(&["train/cat/a.png", "val/dog/b.png", "Test/c.png", "unlabeled/d.png"], false),
            ["train:cat", "validation:dog", "test:-", "unlabeled:-"]
        );
        assert_eq!(
            placed(&["set/train/cat/a.png", "set/val/cat/b.png"], false),
            ["train:cat", "validation:cat"]
        );
        assert_eq!(placed(&["set/cat/a.png", "set/dog/b.png"], true), ["train:cat", "train:dog"]);
        assert_eq!(placed(&["set/cat/a.png", "set/dog/b.png"], false), ["train:set", "train:set"]);
        assert_eq!(
            placed(&["bus/a.png", "car/b.png", "train/c.png"], false),
            ["train:bus", "train:car", "train:train"]
        );
        assert_eq!(placed(&["set/a.png", "set/b.png"], true), ["train:-", "train:-"]);
    }

    #[test]
    fn an_assignment_leaves_out_what_it_does_not_name() {
        let by_path = BTreeMap::from([("x/a.png".to_owned(), ("test".to_owned(), Some(1)))]);
        let assignment = Assignment { by_path, classes: vec!["n".into(), "m".into()] };
        let places = Places::of(["x/a.png", "x/b.png"].into_iter(), true, Some(&assignment));
        assert_eq!(places.of_path("x/a.png"), Some(Placed { split: "test".into(), label: Some(1) }));
        assert_eq!(places.of_path("x/b.png"), None);
    }
}
