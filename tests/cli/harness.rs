//! A folder of its own for each test, and the program run in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub struct World {
    folder: TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl World {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program with the words of `line`.
    pub fn run(&self, line: &str) -> Outcome {
        self.run_with(line, &[])
    }

    /// Runs the program in an environment with these variables besides.
    pub fn run_with(&self, line: &str, environment: &[(&str, &str)]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            // What is fetched stays in the folder, and no proxy stands between.
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("HF_TOKEN")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs the program, which must succeed.
    pub fn succeed(&self, line: &str) -> Outcome {
        let outcome = self.run(line);
        assert_eq!(outcome.code, Some(0), "{line}\n{}", outcome.err);
        outcome
    }

    /// Runs the program, which must fail with `code`, say all of `words` and leave
    /// nothing that was not there before.
    pub fn fail(&self, line: &str, code: i32, words: &[&str]) {
        let before = self.names();
        let outcome = self.run(line);
        assert_eq!(outcome.code, Some(code), "{line}\n{}", outcome.err);
        assert!(!outcome.err.contains("panicked"), "{line}\n{}", outcome.err);
        assert!(outcome.out.is_empty(), "{line}\n{}", outcome.out);
        for word in words {
            assert!(outcome.err.contains(word), "{line}: no `{word}` in\n{}", outcome.err);
        }
        assert_eq!(before, self.names(), "{line} left something behind");
    }

    fn names(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, names: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                walk(&path, names);
                names.push(path);
            }
        }
        let mut names = Vec::new();
        walk(self.folder.path(), &mut names);
        names.sort();
        names
    }
}
