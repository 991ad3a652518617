//! What people see on stderr: bars on a terminal, nothing elsewhere.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};

/// So many of something, in words: `1 label`, `2 labels`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Writes a line of results to stdout. Whoever reads may have gone (`| head`):
/// that is no error of ours. A full disk is: results that are lost end the program.
pub fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}")
        && error.kind() != ErrorKind::BrokenPipe
    {
        tell(&format!("error: writing results to stdout: {error}"));
        std::process::exit(1);
    }
}

/// Writes a line for people to stderr.
pub fn tell(line: &str) {
    // In one piece: other processes may write there, too.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// What this build is called: the alias that has its back end.
pub const CARGO: &str = if cfg!(feature = "cuda") {
    "cargo xtask-cuda"
} else if cfg!(feature = "vulkan") {
    "cargo xtask-vulkan"
} else if cfg!(feature = "wgpu") {
    "cargo xtask-wgpu"
} else {
    "cargo xtask"
};

/// A path as it is typed in a shell.
pub fn typed(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "_./-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A progress bar that exists only on a terminal.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of `length` things with rate and time left.
    pub fn bar(length: u64, what: &str) -> Self {
        let bar = Self::new(Some(length), "{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left");
        bar.describe(what.to_owned());
        bar
    }

    /// A bar of `length` bytes.
    pub fn bytes(length: u64, what: &str) -> Self {
        let bar = Self::new(
            Some(length),
            "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left",
        );
        bar.describe(what.to_owned());
        bar
    }

    /// A bar of training steps.
    pub fn steps(length: u64) -> Self {
        Self::new(Some(length), "step {pos}/{len} {wide_bar} {eta} left\n{msg}")
    }

    /// Something that goes on for a time that is not known.
    pub fn spinner(what: &str) -> Self {
        let spinner = Self::new(None, "{spinner} {msg} {elapsed}");
        spinner.describe(what.to_owned());
        if spinner.is_visible() {
            spinner.0.enable_steady_tick(Duration::from_millis(100));
        }
        spinner
    }

    fn new(length: Option<u64>, template: &str) -> Self {
        let bar = match length {
            _ if !std::io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(length) => ProgressBar::new(length),
            None => ProgressBar::new_spinner(),
        };
        // Templates are constants; were one wrong, the plain bar would do.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(bar.with_style(style))
    }

    /// Whether anybody sees it.
    pub fn is_visible(&self) -> bool {
        !self.0.is_hidden()
    }

    /// `n` more are done.
    pub fn advance(&self, n: u64) {
        self.0.inc(n);
    }

    /// `n` are done.
    pub fn set(&self, n: u64) {
        self.0.set_position(n);
    }

    /// There are so many in all.
    pub fn set_length(&self, n: u64) {
        self.0.set_length(n);
    }

    /// Replaces the text.
    pub fn describe(&self, text: String) {
        self.0.set_message(text);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Date and time (UTC) as part of a file name: `20261124-001530`.
pub fn date_time() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (year, month, day) = civil_from_days((seconds / 86_400) as i64);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// The Gregorian date of a day counted from 1970 (Hinnant's algorithm).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        assert_eq!(typed(Path::new("runs/a-1.b")), "runs/a-1.b");
        assert_eq!(typed(Path::new("n a'n")), r"'n a'\''n'");
    }

    #[test]
    fn dates_are_gregorian() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(11_016), (2000, 2, 29));
        assert_eq!(civil_from_days(20_781), (2026, 11, 24));
    }
}
