//! `bootlab`: boots images and says what the TPM measured.

mod command_demo;
mod command_run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Boots images in QEMU with OVMF and a software TPM, and reports what was measured.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(command_demo::Demo),
    Matrix(command_demo::Matrix),
    Run(command_run::Run),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(demo) => demo.run(),
        Command::Matrix(matrix) => matrix.run(),
        Command::Run(run) => run.run(),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("bootlab: {error}");
            ExitCode::from(2)
        }
    }
}
