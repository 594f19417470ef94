//! System tests: one binary, because linking the node once is cheaper than linking it for each story.

mod bench;
mod demo;
mod federation;
mod real_input;
mod tidy;
