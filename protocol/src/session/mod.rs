//! Sessions: what two nodes say to each other over one connection, without IO.

mod close;

pub use close::CloseCode;
