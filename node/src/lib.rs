//! The node: everything that touches the world. `main` parses the command line and calls in here.

pub mod ingest;
pub mod peer;
pub mod seal;
pub mod secret;
pub mod store;
