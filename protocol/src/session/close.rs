//! Close codes: the only thing that a peer is told when a session ends.
//!
//! The session puts one into its last message and the driver into QUIC's close; numbers are never
//! reused. What went wrong in detail stays on the side that noticed it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CloseCode(pub u32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal, $meaning:literal;)*) => {
        impl CloseCode {
            $($(#[$doc])* #[doc = $meaning] pub const $name: Self = Self($code);)*
            /// Code, name and meaning of each.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$name, $text, $meaning)),*];
        }
    };
}

codes! {
    DONE = 0, "done", "Nothing is wrong; the session ended in good order.";
    SHUTDOWN = 1, "shutdown", "The node stops; dial again later.";
    REPLACED = 2, "replaced", "Another connection between the same two nodes took its place.";
    FRAME = 16, "frame", "A frame was too long or not padded as agreed.";
    MESSAGE = 17, "message", "A message was malformed.";
    UNEXPECTED = 18, "unexpected", "A message came out of its order or on the wrong lane.";
    IDENTITY = 19, "identity", "The identity stated is not the one that the connection proved.";
    VERSION = 20, "version", "No version in common.";
    CLOCK = 21, "clock", "The clocks differ too much.";
    TIMEOUT = 22, "timeout", "What was due did not come in time.";
    LIMIT = 23, "limit", "More was sent than is taken.";
    FEED = 24, "feed", "A feed was named that is not open in this direction.";
    RECEIPT = 25, "receipt", "A receipt was for no run that was sent.";
    RUN = 26, "run", "A run did not hold.";
    REMOVED = 32, "removed", "The partner is not, or no longer, known here.";
    BUSY = 33, "busy", "Too much at once; dial again later.";
    INTERNAL = 34, "internal", "The fault is on this side; dial again later.";
}

impl CloseCode {
    /// Its name, or `unknown` for a code that only a later version has.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|row| row.0 == self).map_or("unknown", |row| row.1)
    }

    /// Whether it says that the peer broke the protocol: then dialling again at once is no use.
    pub fn blames_peer(self) -> bool {
        (16..32).contains(&self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_and_names_are_apart() {
        let codes: BTreeSet<u32> = CloseCode::ALL.iter().map(|row| row.0.0).collect();
        let names: BTreeSet<&str> = CloseCode::ALL.iter().map(|row| row.1).collect();
        assert_eq!((codes.len(), names.len()), (CloseCode::ALL.len(), CloseCode::ALL.len()));
        assert_eq!(CloseCode(9_999).name(), "unknown");
    }
}
