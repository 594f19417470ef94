//! The program `entente`. All that happens is in the library, beginning with `commands`.

use std::process::ExitCode;

/// Chosen by measurement: tests/bench/README.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    entente_node::commands::main(std::env::args_os().collect())
}
