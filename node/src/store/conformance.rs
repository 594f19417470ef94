//! The suite that every engine passes; one meaning of success for all of them.
