//! BYOL from the command line: data, training, evaluation. One file a command;
//! `compose` is the only place that names all the crates.

mod allocator;
mod catalogue;
mod child;
mod cli;
mod commands;
mod compose;
mod dev;
mod device;
mod exit;
mod http;
mod hub;
mod memory;
mod out;
mod replicas;
mod subject;
mod terminal;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::cli::{BenchCommand, Cli, Command};

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let started = Instant::now();
    #[cfg(feature = "gpu")]
    device::no_other_than_chosen();
    allocator::keep_memory();
    // Panics of foreign decoders become errors; nobody needs to hear of them twice.
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !byol_data::is_guarded() {
            loud(panic);
        }
    }));
    // `cargo xtask-mpi --build`: mpirun and srun start a program, not cargo.
    if std::env::args_os().skip(1).eq(["--build"]) {
        return match std::env::current_exe() {
            Ok(path) => {
                terminal::say(&path.display().to_string());
                ExitCode::SUCCESS
            }
            Err(error) => {
                terminal::tell(&format!("error: where this program is: {error}"));
                ExitCode::FAILURE
            }
        };
    }
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Datasets(args) => commands::datasets::run(&args),
        Command::Download(args) => commands::download::run(&args),
        Command::Ingest(args) => commands::ingest::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Preview(args) => commands::preview::run(&args),
        Command::Presets(args) => commands::presets::run(&args),
        Command::Pretrain(args) => commands::pretrain::run(&args, started),
        Command::LinearEval(args) => commands::evaluate::linear_eval(&args),
        Command::Knn(args) => commands::evaluate::knn(&args),
        Command::Finetune(args) => commands::evaluate::finetune(&args),
        Command::Transfer(args) => commands::evaluate::transfer(&args),
        Command::Embed(args) => commands::embed::run(&args),
        Command::Neighbors(args) => commands::neighbors::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Runs(args) => commands::runs::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Models(args) => commands::models::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Bench(args) => match &args.command {
            None => commands::bench::docs::run(&args),
            Some(BenchCommand::Augment(args)) => commands::bench::augment::run(args),
            Some(BenchCommand::Data(args)) => commands::bench::data::run(args),
            Some(BenchCommand::Eval(args)) => commands::bench::eval::run(args),
            Some(BenchCommand::Train(args)) => commands::bench::train::run(args),
        },
        Command::Dev(args) => dev::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::tell(&format!("error: {error:#}"));
            exit::code(&error)
        }
    }
}
