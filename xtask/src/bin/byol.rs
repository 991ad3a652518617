//! The same program under the name that it is installed as.

fn main() -> std::process::ExitCode {
    xtask::run()
}
