//! Sessions through the real thing.
