//! The `bulkreasm` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulkreasm::cli::main()
}
