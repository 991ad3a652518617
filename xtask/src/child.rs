//! This program once more, as a process of its own that does not outlive this one.

use std::io::{self, Read};
use std::process::{Command, Output, Stdio};

/// Runs the command to its end. It can see this process end: its standard input ends with it.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    let open = child.stdin.take();
    let output = child.wait_with_output();
    drop(open);
    output
}

/// How a process ended that did not succeed, with the last line that it said.
pub fn end(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    last.map_or_else(|| output.status.to_string(), |line| format!("{}: {line}", output.status))
}

/// Within such a process: ends it when whoever has started it is gone, however that came about.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let mut rest = [0; 64];
        while io::stdin().read(&mut rest).is_ok_and(|n| n > 0) {}
        std::process::exit(1);
    });
}
