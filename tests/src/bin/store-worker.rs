//! Writes to a store until it is told enough or is killed; the harnesses of durability start it. No part of the node.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    entente_tests::durability::work::main(&args)
}
