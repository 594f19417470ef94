//! How it went with each partner since the node was opened, and which files could not be read.

use super::Node;
use entente_protocol::{
    id::{AgreementDigest, AgreementId, Hash, OrgId},
    time::UnixMillis,
};
use std::{collections::BTreeMap, sync::PoisonError};

/// How it went with one partner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Sessions under way in which the partner has answered: one, and none for a moment between two.
    pub sessions: u32,
    /// When the partner last answered in a session that began.
    pub began: Option<UnixMillis>,
    /// Why it could not be reached when it was last dialled, and when; forgotten once there is a connection.
    pub unreachable: Option<(UnixMillis, String)>,
    /// When a run or receipt, or a round that a person asked for, last went through.
    pub success: Option<UnixMillis>,
    /// What went wrong last, and when.
    pub error: Option<(UnixMillis, String)>,
    /// Agreements that both should hold alike and do not, as it last said, and how.
    pub differs: BTreeMap<AgreementId, Differs>,
    /// Agreements of which it approved another next version than our people did.
    pub rivals: BTreeMap<AgreementId, Rival>,
}

/// Two versions for one place, each approved on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rival {
    /// What our people approved.
    pub ours: AgreementDigest,
    /// What the partner's did.
    pub theirs: AgreementDigest,
}

/// How what a partner holds of an agreement differs from what is held here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differs {
    /// It holds another version in force.
    Version(AgreementDigest),
    /// It holds none in force.
    Missing,
    /// It holds one in force, and this node does not.
    Unknown,
}

impl Differs {
    /// In words, for the people who must look.
    pub fn says(self) -> String {
        match self {
            Self::Version(theirs) => format!(
                "the partner holds another version of it in force, {}: nothing passes until both hold the same. What is \
                 missing goes over by itself; if it stays so, compare `entente agreement show` by voice",
                theirs.short()
            ),
            Self::Missing => {
                "the partner does not hold it in force: its signatures, or its consent, are missing there".to_owned()
            }
            Self::Unknown => "the partner holds it in force, and this node does not".to_owned(),
        }
    }
}

impl Health {
    /// Whether there is a connection.
    pub const fn connected(&self) -> bool {
        self.sessions > 0
    }
    /// What is wrong with the partner or the way to it now, and since when: without a connection the way comes first.
    /// What was wrong before things last went well, or before it was met again, is wrong no more: what still is shows anew.
    pub fn trouble(&self) -> Option<&(UnixMillis, String)> {
        let well = self.success.max(self.began);
        let since = self.error.as_ref().filter(|(at, _)| well.is_none_or(|well| well <= *at));
        self.unreachable.as_ref().filter(|_| !self.connected()).or(since)
    }
    /// What went wrong last, whether or not things went well since.
    pub fn last_error(&self) -> Option<&(UnixMillis, String)> {
        self.unreachable.as_ref().or(self.error.as_ref())
    }
}

impl Node {
    /// How it went with a partner.
    pub fn health(&self, partner: OrgId) -> Health {
        self.healths().get(&partner).cloned().unwrap_or_default()
    }
    /// A run or receipt, or a whole round, went through.
    pub fn note_success(&self, partner: OrgId) {
        let now = self.clock.now();
        self.healths().entry(partner).or_default().success = Some(now);
    }
    /// A file cannot be read as it was written: it is not given any more, and people are told.
    pub fn note_damaged(&self, file: Hash) {
        if self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(file) {
            tracing::error!(%file, "a file of ours is damaged or gone, and is not given: see `entente check`");
        }
    }
    /// Whether a file could not be read.
    pub fn is_damaged(&self, file: Hash) -> bool {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).contains(&file)
    }
    /// How many files could not be read since the node was opened.
    pub fn damaged(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
    /// Something went wrong with a partner.
    pub fn note_error(&self, partner: OrgId, what: String) {
        let now = self.clock.now();
        self.healths().entry(partner).or_default().error = Some((now, what));
    }
    /// It was dialled in vain. A call that began before it came by itself says nothing of it any more.
    pub fn note_unreachable(&self, partner: OrgId, why: String) {
        let now = self.clock.now();
        let mut healths = self.healths();
        let health = healths.entry(partner).or_default();
        if !health.connected() {
            health.unreachable = Some((now, why));
        }
    }
    /// What a partner said of the agreements between the two differs so from what is held here.
    pub fn note_differs(&self, partner: OrgId, differs: BTreeMap<AgreementId, Differs>) {
        self.healths().entry(partner).or_default().differs = differs;
    }
    /// A partner approved another version of an agreement than our people did.
    pub fn note_rival(&self, partner: OrgId, agreement: AgreementId, rival: Rival) {
        self.healths().entry(partner).or_default().rivals.insert(agreement, rival);
    }
    /// A session began, or ended.
    pub fn note_session(&self, partner: OrgId, began: bool) {
        let now = self.clock.now();
        let mut healths = self.healths();
        let health = healths.entry(partner).or_default();
        health.sessions = if began { health.sessions.saturating_add(1) } else { health.sessions.saturating_sub(1) };
        if began {
            (health.unreachable, health.began) = (None, Some(now));
        }
    }
    fn healths(&self) -> std::sync::MutexGuard<'_, BTreeMap<OrgId, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: a session ended badly, and the partner was met again. Status went on to show the old trouble beside
    /// `connected yes`.
    #[test]
    fn trouble_is_over_when_the_partner_is_met_again() {
        let error = |at| Some((UnixMillis(at), "idle timeout".to_owned()));
        let check = |health: Health, troubled: bool| assert_eq!(health.trouble().is_some(), troubled, "{health:?}");
        check(Health { error: error(5), ..Health::default() }, true);
        check(Health { error: error(5), began: Some(UnixMillis(4)), ..Health::default() }, true);
        let met = Health { error: error(5), began: Some(UnixMillis(6)), sessions: 1, ..Health::default() };
        assert!(met.last_error().is_some(), "programs see what it was");
        check(met, false);
        check(Health { error: error(5), success: Some(UnixMillis(6)), ..Health::default() }, false);
        check(Health { error: error(7), began: Some(UnixMillis(6)), ..Health::default() }, true);
        let dialled = Health { unreachable: error(7), began: Some(UnixMillis(6)), sessions: 1, ..Health::default() };
        check(dialled.clone(), false);
        check(Health { sessions: 0, ..dialled }, true);
    }
}
