//! System tests: one binary, because linking the node once is cheaper than linking it for each story.

mod agreements;
mod bench;
mod canaries;
mod check;
mod commands;
mod demo;
mod durability;
mod faults;
mod federation;
mod forged;
mod fuzz;
mod hostile;
mod hostile_files;
mod hostile_peer;
mod kill;
mod life;
mod listings;
mod mishaps;
mod networks;
mod newcomer;
mod photographs;
mod real_input;
mod redaction;
mod simulation;
mod terminal;
mod tidy;
