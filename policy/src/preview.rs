//! A version of an agreement as it would be in force, for people who have not signed it.
//!
//! It explains and never decides: no proof value can be made of what nobody signed.

use crate::{
    decide::Explanation,
    question::Question,
    redline::RedLine,
    set::{CompileError, Governed, PartnerState, PolicySet},
};
use entente_protocol::id::OrgId;
use std::collections::BTreeMap;

/// One version, supposed to be in force, under an organisation's red lines.
#[derive(Debug)]
pub struct Preview(PolicySet);

impl Preview {
    /// Checks and compiles. A version that cannot be applied withholds everything, as it would in force.
    pub fn new(
        own: OrgId,
        supposed: Governed,
        red_lines: &[RedLine],
        partners: BTreeMap<OrgId, PartnerState>,
    ) -> Result<Self, CompileError> {
        Ok(Self(PolicySet::new(own, vec![supposed], red_lines, partners, &[])?))
    }

    /// Says for one record and one party what would go, what would stay, and why.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        self.0.explain(question)
    }
}
