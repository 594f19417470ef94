//! The program `entente`. All that happens is in the library, beginning with `commands`.

use std::process::ExitCode;

fn main() -> ExitCode {
    entente_node::commands::main(std::env::args_os().collect())
}
