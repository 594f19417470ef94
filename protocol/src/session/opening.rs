//! The opening of a session: one struct for each state, consumed by the message that it expects.
//!
//! [`ExpectHello`] -> [`ExpectAgreements`] -> [`ExpectHeads`] -> [`Open`]: a message out of order has
//! nowhere to go. These check what can be checked without keys; the shell verifies signatures.

use super::{
    SessionConfig,
    message::{AgreementLine, Heads, Hello, VERSIONS},
};
use crate::{codec::CodecError, error::PeerFault, id::AgreementId, limits, time::UnixMillis};
use std::collections::BTreeSet;

/// Nothing was said yet.
pub(super) struct ExpectHello;

/// The partner is who the connection says.
pub(super) struct ExpectAgreements(());

/// The partner named the agreements that it shares with us.
pub(super) struct ExpectHeads(BTreeSet<AgreementId>);

/// The partner showed its heads.
pub(super) struct Open(BTreeSet<AgreementId>);

impl ExpectHello {
    pub(super) fn hello(
        self,
        hello: &Hello,
        config: &SessionConfig,
        now: UnixMillis,
    ) -> Result<ExpectAgreements, PeerFault> {
        if !hello.versions.is_sorted_by(|a, b| a < b) {
            return Err(CodecError::Shape.into());
        }
        if !hello.versions.iter().any(|v| VERSIONS.contains(v)) {
            return Err(PeerFault::Version);
        }
        // Our own greeting sent back names our organisation, and fails here.
        if hello.org != config.peer || hello.org == config.org {
            return Err(PeerFault::Identity);
        }
        let by_ms = hello.time.0.abs_diff(now.0);
        if by_ms > limits::CLOCK_SKEW_MS_MAX {
            return Err(PeerFault::ClockSkew { by_ms });
        }
        Ok(ExpectAgreements(()))
    }
}

impl ExpectAgreements {
    pub(super) fn agreements(self, lines: &[AgreementLine]) -> ExpectHeads {
        ExpectHeads(lines.iter().map(|line| line.id).collect())
    }
}

impl ExpectHeads {
    pub(super) fn heads(self, heads: &Heads, config: &SessionConfig) -> Result<Open, PeerFault> {
        let open = Open(self.0);
        open.heads(heads, config)?;
        Ok(open)
    }
}

impl Open {
    /// The partner names its agreements anew.
    pub(super) fn agreements(&mut self, lines: &[AgreementLine]) {
        self.0 = lines.iter().map(|line| line.id).collect();
    }

    /// Every feed is between the two, in the direction stated, under an agreement that the partner
    /// named, and shows the signature that it claims.
    pub(super) fn heads(&self, heads: &Heads, config: &SessionConfig) -> Result<(), PeerFault> {
        let (us, peer) = (config.org, config.peer);
        let sent = heads.sent.iter().all(|l| l.is_consistent(peer, us) && self.0.contains(&l.feed.agreement));
        let received = heads.received.iter().all(|l| l.is_consistent(us, peer) && self.0.contains(&l.feed.agreement));
        if sent && received { Ok(()) } else { Err(PeerFault::Feed) }
    }
}
