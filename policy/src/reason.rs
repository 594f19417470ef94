//! Why something is withheld or refused: stable codes, each with a sentence for people.
//!
//! Codes are written to the journal and shown on screen; they are never renamed or reused. The table
//! in AGREEMENTS.md is compared with this one by a test. Reasons stay with us: partners never see them.

use std::fmt;

macro_rules! reasons {
    ($($name:ident = $code:literal, $sentence:literal;)*) => {
        /// Why a record, a field or something received is withheld or refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $sentence] $name,)*
        }

        impl Reason {
            /// All reasons, in the order in which they are looked for, but for those added later at the end.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// A sentence for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

reasons! {
    NoAgreement = "no-agreement", "There is no such agreement in force here.";
    NotAParty = "not-a-party", "The partner, or this organisation, is not a party to the agreement.";
    PartnerUnknown = "partner-unknown", "The organisation is not a partner of this node; pair with it first.";
    PartnerSuspended = "partner-suspended", "Sharing with this partner is suspended here.";
    Ended = "ended", "A party has ended the agreement.";
    Suspended = "suspended", "A party has suspended the agreement.";
    ClockUncertain = "clock-uncertain", "The time is not confirmed; wait for a partner's signed time or let a named user set it.";
    ClockTooWide = "clock-too-wide", "The time is known too roughly to decide by.";
    NotInForceYet = "not-in-force-yet", "The agreement is not in force yet.";
    Expired = "expired", "The agreement has expired.";
    OnwardWithoutGrant = "onward-without-grant", "The record is another organisation's, and no grant of that organisation lets it go on.";
    GateRefuted = "gate-refuted", "The record was refuted in review.";
    GateDraft = "gate-draft", "The record is a draft that nobody has reviewed.";
    GateReview = "gate-review", "The record's review is below what this organisation asks for.";
    GateNotReleased = "gate-not-released", "Nobody has released the record.";
    NotBefore = "not-before", "The record may not be released before a time that has not come.";
    Destroyed = "destroyed", "The record's day of destruction has come.";
    ClassNotAccredited = "class-not-accredited", "The record's classification needs an accreditation that this node does not have.";
    KindNotCovered = "kind-not-covered", "No clause in this direction covers this kind of record.";
    RedLineError = "red-line-error", "A red line could not be evaluated, so it holds.";
    ConditionError = "condition-error", "A clause's condition could not be evaluated.";
    RedLine = "red-line", "A red line of this organisation forbids it.";
    FieldAbsent = "field-absent", "A clause's condition reads a field that the record does not have.";
    ConditionNotMet = "condition-not-met", "The record does not meet the condition of any clause.";
    TlpRed = "tlp-red", "The record is TLP:RED, and no clause that fits it carries TLP:RED.";
    NothingToDisclose = "nothing-to-disclose", "No field that the clause names may be disclosed now.";
    OverDisclosed = "over-disclosed", "More was sent than any clause permits.";
    SlotNotNamed = "slot-not-named", "The clause does not name this field.";
    SlotPersonal = "slot-personal", "The field is personal data that the clause does not name with purpose and retention.";
    SlotReference = "slot-reference", "The field refers to a record that this partner was not given under this agreement.";
    SlotFile = "slot-file", "The clause does not release files of this role.";
    SetAside = "set-aside", "The agreement cannot be applied by this version of the program; nothing passes under it until its parties sign one that can.";
    OnwardForbidden = "onward-forbidden", "The agreement under which the record came does not let it go on to this organisation.";
    GrantOver = "grant-over", "The time is over for which its originator's grant lets the record go on.";
    GrantPurpose = "grant-purpose", "The agreement has a purpose for which its originator's grant does not let the record go on.";
    OnwardLease = "onward-lease", "The agreement under which the record came has a lease, and this one has none, or a longer one.";
    OnwardAttestation = "onward-attestation", "The key with which its originator attested the record, or granted it, does not count any more; its originator must do so anew.";
    SlotNotGranted = "slot-not-granted", "The originator's grant does not name this field.";
    Recalled = "recalled", "The record was recalled: it goes to nobody any more.";
    OnwardRed = "onward-red", "The record is another organisation's and TLP:RED, by its own label or by the clause under which it came: it goes no further, with whatever grant.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// A decision to withhold or refuse, with what it hung on. Not an error: withholding is an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Why.
    pub reason: Reason,
    /// The clause, where one clause was the cause, by its place in the agreement.
    pub clause: Option<u16>,
    /// The name of the red line, where one was the cause.
    pub red_line: Option<String>,
}

impl From<Reason> for Withheld {
    fn from(reason: Reason) -> Self {
        Self { reason, clause: None, red_line: None }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.reason.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_apart_and_have_sentences() {
        let codes: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.sentence().ends_with('.'), "{reason}");
        }
    }
}
