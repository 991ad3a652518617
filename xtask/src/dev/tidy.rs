//! The house's own rules, over the files that git tracks. Also an ordinary test.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Lines past which a file has more than one subject.
const MAX_LINES: usize = 400;

/// Checks the repository around the current directory.
pub fn run() -> Result<()> {
    let faults = faults(Path::new("."))?;
    if faults.is_empty() {
        crate::terminal::say("tidy");
        return Ok(());
    }
    bail!("{} faults:\n{}", faults.len(), faults.join("\n"))
}

fn faults(root: &Path) -> Result<Vec<String>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    if !listed.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    }
    let mut faults = Vec::new();
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        // A file that is not text has no lines to look at.
        let Ok(text) = fs::read_to_string(root.join(name)) else { continue };
        check_text(name, &text, &mut faults);
        if name.ends_with(".rs") {
            check_code(name, &text, &mut faults);
        }
    }
    Ok(faults)
}

fn check_text(name: &str, text: &str, faults: &mut Vec<String>) {
    // Written in pieces, so that this file does not find itself.
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tm", "p/")];
    for (i, line) in text.lines().enumerate() {
        if let Some(place) = places.iter().find(|place| line.contains(**place)) {
            faults.push(format!("{name}:{}: a path of one machine ({place})", i + 1));
        }
    }
}

fn check_code(name: &str, text: &str, faults: &mut Vec<String>) {
    let n_lines = text.lines().count();
    if n_lines > MAX_LINES {
        faults.push(format!("{name}: {n_lines} lines, more than {MAX_LINES}; split it by subject"));
    }
    let unfinished = [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("db", "g!(")];
    let library = name.starts_with("crates/") && name.contains("/src/");
    let worldly = ["println!(", "eprintln!(", "print!(", "std::env::", "std::net::"];
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for word in unfinished.iter().filter(|word| line.contains(**word)) {
            faults.push(format!("{name}:{}: unfinished ({word})", i + 1));
        }
        for word in worldly.iter().filter(|word| library && line.contains(**word)) {
            faults.push(format!("{name}:{}: a library must not print or look around ({word})", i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(faults(&root).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn faults_are_found() {
        let mut faults = Vec::new();
        check_code("crates/a/src/lib.rs", concat!("fn f() { print", "ln!(\"\"); to", "do!() }"), &mut faults);
        check_text("README.md", concat!("see /wo", "rk/main"), &mut faults);
        assert_eq!(faults.len(), 3, "{faults:?}");
    }
}
