//! Bundles: files that people carry from one node to another, late, twice, out of order, damaged, to somebody else, or never.
//!
//! What is in one goes the way of the wire: I2 is looked at when it is made, by opening it with its receiver's keys, and what
//! a receiver took of it is noted as what it took from a connection.

use super::{
    Checked,
    wire::Taking,
    world::{Doing, World},
};
use entente_node::{
    bundle::{self, ExportOptions, file},
    error::Fault,
};
use entente_protocol::{
    bundle::Part,
    identity::Purpose,
    session::{Lane, Message},
    time::UnixMillis,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Small enough that not every run fits, large enough that some do.
const SMALL_BYTES: u64 = 6_000;
/// Old bundles that are brought once more at the end.
const AT_LAST: usize = 3;

/// A bundle that was made.
pub struct Carried {
    path: PathBuf,
    ends: [usize; 2],
    /// When, by its maker's clock.
    made: UnixMillis,
    runs: Vec<Taking>,
}

/// What is said of a bundle that is no finding: the other is estranged, a clock is wrong, or there is no room.
fn allowed<T>(done: Result<T, Fault>, codes: &[&str]) -> Result<Option<T>, Box<dyn std::error::Error>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(fault) if codes.contains(&fault.code.as_str()) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}

impl World<'_> {
    /// A bundle is made, or one is brought to where it belongs or not.
    pub(super) fn bundle(&mut self, n: usize) -> Checked {
        if self.carried.is_empty() || self.chance.one_in(2) {
            return self.make_bundle(n);
        }
        let at = self.chance.below(self.carried.len());
        match self.chance.below(8) {
            0 => self.bring_damaged(at),
            1 => self.bring_elsewhere(at, n),
            _ => self.bring(at),
        }
    }

    fn make_bundle(&mut self, n: usize) -> Checked {
        let partners: Vec<usize> =
            self.model.deals.iter().filter(|deal| deal.parties.contains(&n)).map(|deal| deal.other(n)).collect();
        let Some(to) = self.chance.pick(&partners).copied() else { return Ok(()) };
        let path = self.machines[n].disk.home().join(format!("{}-{to}.bundle", self.step));
        let options = ExportOptions {
            to: self.org(to).to_string(),
            output: path.clone(),
            one_way: self.chance.one_in(4),
            again: self.chance.one_in(4),
            max_bytes: self.chance.one_in(4).then_some(SMALL_BYTES),
            ..ExportOptions::default()
        };
        let made = self.now(n);
        self.say(|| format!("{n}: makes a bundle for {to}: {options:?}"));
        self.act(n, Doing::Other, |node| {
            allowed(bundle::export(node, &options, &mut |_| {}), &["removed", "clock", "max-size", "lease"])
        })?;
        if !path.exists() {
            return Ok(());
        }
        // Made is made, also where its node died over the note of it.
        self.restart(n)?;
        let mut runs = Vec::new();
        for content in self.runs_in(&path, [n, to])? {
            self.check_sent(n, &content, (self.step, self.now(n)))?;
            if let Ok(Message::Run(message)) = Message::from_bytes(Lane::Records, &content) {
                runs.extend(self.taking(&message)?);
            }
        }
        self.stats.bundles += 1;
        self.carried.push(Carried { path, ends: [n, to], made, runs });
        Ok(())
    }

    /// The runs of a bundle, opened with its receiver's keys.
    fn runs_in(&self, path: &Path, [from, to]: [usize; 2]) -> Checked<Vec<Vec<u8>>> {
        let (card, identity) = (&self.organisation(from).card, self.organisation(to).opens());
        let file = File::open(path)?;
        let (mut reader, opening) = file::Reader::open(&file, &identity)?;
        let key = |kid| card.listed(Purpose::Runs, kid).map(|listed| listed.key.clone());
        let (_, mut opened) = file::verified(&opening, (self.org(from), self.org(to)), key)?;
        let mut runs = Vec::new();
        // Each turn takes a part; the end is one.
        while !opened.has_ended() {
            if let Part::Message(Lane::Records, content) = reader.part(&mut opened)? {
                runs.push(content);
            }
        }
        Ok(runs)
    }

    fn bring(&mut self, at: usize) -> Checked {
        let Carried { path, ends: [from, n], made, runs } = &self.carried[at];
        let (path, from, n, made, runs) = (path.clone(), *from, *n, *made, runs.clone());
        self.say(|| format!("{n}: takes {} of {from}", path.display()));
        self.machines[n].since = self.now(n);
        self.note_met_at(n, from, made);
        let done = self.act(n, Doing::Bundle(runs.clone()), |node| {
            allowed(bundle::import(node, &path, &mut |_| {}), &["no-partner", "clock"])
        })?;
        if done.flatten().is_some() {
            self.stats.brought += 1;
            self.note_runs(n, &runs)?;
        }
        (0..self.machines.len()).try_for_each(|n| self.check_acknowledged(n))
    }

    /// Notes which runs of a bundle a node took.
    pub(super) fn note_runs(&mut self, n: usize, runs: &[Taking]) -> Checked {
        runs.iter().try_for_each(|(direction, entries, end)| self.note_taken(n, *direction, entries, *end))
    }

    /// One byte of it is another: nothing of it is taken.
    fn bring_damaged(&mut self, at: usize) -> Checked {
        let Carried { path, ends: [_, n], .. } = &self.carried[at];
        let (mut bytes, n) = (fs::read(path)?, *n);
        let place = self.chance.below(bytes.len());
        let flip = 1 << self.chance.below(8);
        bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= flip);
        let path = self.machines[n].disk.home().join("damaged.bundle");
        fs::write(&path, bytes)?;
        self.refuses(n, &path, "whose byte was flipped")
    }

    /// Somebody gets it for whom it is not.
    fn bring_elsewhere(&mut self, at: usize, n: usize) -> Checked {
        if self.carried[at].ends[1] == n {
            return self.bring(at);
        }
        let path = self.carried[at].path.clone();
        self.refuses(n, &path, "for another")
    }

    fn refuses(&mut self, n: usize, path: &Path, what: &str) -> Checked {
        if self.node(n).is_none() {
            return Ok(());
        }
        self.say(|| format!("{n}: is brought a bundle {what}"));
        let before = self.machines[n].disk.ledger.head()?.sequence;
        let taken = self.act(n, Doing::Other, |node| Ok(bundle::import(node, path, &mut |_| {}).is_ok()))?;
        let after = self.machines[n].disk.ledger.head()?.sequence;
        if taken == Some(true) || (taken.is_some() && before != after) {
            return self.broken(format!("I2: node {n} takes a bundle {what}"));
        }
        Ok(())
    }

    /// Once everything has settled, some that lay somewhere are brought after all: they change nothing that is settled.
    pub(super) fn bring_late(&mut self) -> Checked {
        for _ in 0..AT_LAST.min(self.carried.len()) {
            let at = self.chance.below(self.carried.len());
            self.bring(at)?;
        }
        if self.carried.is_empty() { Ok(()) } else { self.settle_all() }
    }
}
