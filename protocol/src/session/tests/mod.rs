//! Sessions through the real thing: real records, runs and signatures between two sessions.

mod model;
mod order;
mod refusals;
mod stories;
