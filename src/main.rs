//! The `bulkreasm` program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// Threads give back what others asked for: docs/adr/0024 has the figures. Only the program chooses;
// whoever uses the library keeps their own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    bulkreasm::cli::main()
}
