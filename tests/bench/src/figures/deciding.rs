//! What a decision costs, remembered and not, and with how many agreements in force.
//!
//! The policy of an open node, asked as its outbox asks it. The other agreements are the benchmark's own with other
//! partners; its clause is given a condition, so that the policy engine has something to judge.

use super::Group;
use crate::{
    bench::Bench,
    measure::{Against, Figure, Goal},
    parts,
};
use anyhow::{Context, Result};
use entente_node::{clock::SystemClock, config::Home, node::Node, secret::unlock::Unlock};
use entente_policy::{Governed, PartnerState, PolicySet};
use entente_protocol::{
    agreement::{Agreement, InForce, Standing},
    id::{AgreementId, OrgId},
    record::{Record, kind::Kind},
    time::UnixMillis,
};
use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Instant};

/// The group.
pub const GROUP: Group = Group {
    name: "decide",
    figures: &["decide-1", "decide-100", "decide-1000", "decide-fresh", "decide-first"],
    about: "a decision on one record, remembered with so many agreements in force, and not remembered",
    measure,
};

/// Records asked about once each.
const RECORDS: u64 = 5_000;
/// Records asked about again and again: few enough to stay in the processor's cache, as the one does that was just read
/// from the store, and so often.
const JUST_READ: usize = 50;
const TIMES: usize = 100;
/// Policies of which the first decision is measured.
const FIRST: usize = 200;
/// What the clause asks for, true of every record here.
const CONDITION: &str =
    "resource has condition && resource.condition != \"destroyed\" && resource has type && resource.type != \"drone\"";
/// And of records that nearly all differ in what it reads, so that no verdict is remembered.
const DIFFERING: &str = "resource has condition && resource.condition != \"destroyed\" && resource has type && \
                         resource has model && resource has family && resource.family != \"none\" && \
                         resource has year && resource.year != \"none\"";

/// An agreement, by us with one partner.
struct Asking {
    partner: OrgId,
    agreement: Agreement,
    own: OrgId,
    now: UnixMillis,
}

impl Asking {
    fn of(node: &Node, condition: &str) -> Result<Self> {
        let rules = node.rules();
        let (partner, _) = rules.book.iter().next().context("no partner")?;
        let held = rules.agreements.iter().next().and_then(|held| held.in_force.as_ref()).context("no agreement")?;
        let mut agreement = held.agreement.clone();
        let items = agreement.clauses.iter_mut().filter(|clause| clause.disclose.iter().all(|d| d.kind == Kind::Item));
        items.for_each(|clause| clause.when = Some(condition.to_owned()));
        Ok(Self { partner: *partner, agreement, own: node.keys.org, now: node.clock.now() })
    }

    /// The same terms, with somebody else.
    fn with(&self, partner: OrgId, id: AgreementId) -> Agreement {
        let other = |org: &mut OrgId| {
            if *org == self.partner {
                *org = partner;
            }
        };
        let mut agreement = Agreement { id, ..self.agreement.clone() };
        agreement.parties.iter_mut().for_each(|party| other(&mut party.id));
        for clause in &mut agreement.clauses {
            other(&mut clause.from);
            clause.to.iter_mut().for_each(other);
        }
        agreement
    }

    /// A policy with so many agreements in force.
    fn policy(&self, agreements: u32) -> Result<PolicySet> {
        let mut governed = Vec::new();
        let mut partners = BTreeMap::from([(self.partner, PartnerState::Active)]);
        for n in 0..agreements {
            let agreement = if n == 0 {
                self.agreement.clone()
            } else {
                let (mut org, mut id) = ([1; 32], [1; 16]);
                org[..4].copy_from_slice(&n.to_be_bytes());
                id[..4].copy_from_slice(&n.to_be_bytes());
                partners.insert(OrgId::from_bytes(org), PartnerState::Active);
                self.with(OrgId::from_bytes(org), AgreementId::from_bytes(id))
            };
            let digest = agreement.digest()?;
            governed.push(Governed { in_force: InForce { agreement, digest }, standing: Standing::Active });
        }
        let policy = PolicySet::new(self.own, governed, &[], partners, &[])?;
        if let Some(fault) = policy.aside(self.agreement.id) {
            anyhow::bail!("the agreement is set aside: {fault}");
        }
        Ok(policy)
    }

    fn decide(&self, policy: &PolicySet, record: &Record) -> Result<()> {
        black_box(parts::decide(policy, record, (self.partner, self.agreement.id), self.now)?);
        Ok(())
    }
}

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let world = bench.folder("decide")?;
    let pair = bench.pair(world.path())?;
    let node = Node::open(Home::at(pair.a.path()), &Unlock::IdentityFile(pair.a.key()), Arc::new(SystemClock))
        .map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let asking = Asking::of(&node, CONDITION)?;
    let drafts = parts::drafts(bench, RECORDS.min(bench.sizes.records.max(10)), node.keys.org)?;
    let records = drafts.into_iter().map(parts::commit).collect::<Result<Vec<Record>>>()?;
    let mut figures: Vec<Figure> = Vec::new();
    for (name, agreements) in [("decide-1", 1), ("decide-100", 100), ("decide-1000", 1_000)] {
        let policy = asking.policy(agreements)?;
        let few = || records.iter().take(JUST_READ);
        // Also until the processor runs at its usual pace.
        (0..4 * TIMES).try_for_each(|_| few().try_for_each(|record| asking.decide(&policy, record)))?;
        let runs = bench.repeat(|| {
            let begun = Instant::now();
            (0..TIMES).try_for_each(|_| few().try_for_each(|record| asking.decide(&policy, record)))?;
            Ok(begun.elapsed().as_secs_f64() * 1e6 / (TIMES * few().count()) as f64)
        })?;
        let figure = Figure::new(name, "us", runs).goal(Goal::AtMost(1.0)).note("a record that was just read");
        let one = figures.first().map(|one| Against::new("with one agreement", one.runs.clone()));
        figures.push(one.into_iter().fold(figure, Figure::limit));
    }
    let differing = Asking::of(&node, DIFFERING)?;
    let fresh = bench.repeat(|| {
        let policy = differing.policy(1)?;
        let begun = Instant::now();
        records.iter().try_for_each(|record| differing.decide(&policy, record))?;
        Ok(begun.elapsed().as_secs_f64() * 1e6 / records.len() as f64)
    })?;
    let first = bench.repeat(|| {
        let mut spent = 0.0;
        for record in records.iter().cycle().take(FIRST) {
            let policy = asking.policy(1)?;
            let begun = Instant::now();
            asking.decide(&policy, record)?;
            spent += begun.elapsed().as_secs_f64();
        }
        Ok(spent * 1e6 / FIRST as f64)
    })?;
    let about = "of records that nearly all differ in what the condition reads, each asked about once";
    figures.push(Figure::new("decide-fresh", "us", fresh).goal(Goal::AtMost(20.0)).note(about));
    figures.push(Figure::new("decide-first", "us", first).note("the first of a policy that was made just before"));
    Ok(figures)
}
