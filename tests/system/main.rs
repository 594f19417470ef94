//! System tests: one binary, because linking the node once is cheaper than linking it for each story.

mod check;
mod demo;
mod durability;
mod faults;
mod federation;
mod real_input;
mod tidy;
