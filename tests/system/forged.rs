//! A partner that was let in and breaks its word: what it forges, replays or passes on is not taken, it is told a code
//! and nothing else, and an honest partner goes on.
//!
//! The partner has a real home, opened in this process; what it sends is made from runs that it really signed.

use entente_node::{
    node::Node,
    secret,
    share::{feeds, outbox},
};
use entente_protocol::{
    agreement::Standing,
    cose::SignatureBytes,
    feed::{Carried, Cursor, Entry, FeedKey, Release, Run, RunEntry, RunMessage},
    id::{AgreementId, EntryHash, Nonce, OrgId},
    primitive::SigningKey,
    session::{CloseCode, Lane, Message, Session},
};
use entente_tests::{Home, PATIENCE, Row, Wire, Wired, World};
use std::{error::Error, sync::Arc};

type Fallible<T> = Result<T, Box<dyn Error>>;

fn clauses(from: &str, to: &str) -> String {
    format!(
        "\n[[clause]]\nname = \"items\"\nfrom = \"{from}\"\nto = [\"{to}\"]\nonward = \"never\"\nretention-days = 30\n\
         disclose.item = [\"number\", \"eval\", \"type\"]\n"
    )
}

/// The feed to a partner under the first agreement with it.
fn feed(node: &Node, to: OrgId) -> Fallible<FeedKey> {
    let (agreement, _, standing) = feeds::agreements_with(node, to).first().copied().ok_or("no agreement")?;
    assert_eq!(standing, Standing::Active);
    Ok(feeds::outgoing(node, to, agreement))
}

/// What is due to a partner, signed as its sender signs it.
fn signed(node: &Node, to: OrgId) -> Fallible<RunMessage> {
    Ok(outbox::step(node, &feed(node, to)?)?.run.ok_or("nothing is due")?.message)
}

/// Another run over these entries, properly signed.
fn run_over(
    node: &Node,
    feed: &FeedKey,
    before: Cursor,
    hashes: &[EntryHash],
    key: &SigningKey,
) -> Fallible<SignatureBytes> {
    let held = node.rules();
    let version = held.agreements.iter().find_map(|a| a.in_force.as_ref()).ok_or("no agreement")?.digest;
    Ok(Run::over(feed.id(), before, hashes, version, node.clock.now(), None)?.sign(key)?)
}

/// Someone else's records as an entry of our own feed, as if our own agreement had cleared them.
fn passed_on(node: &Node, theirs: &RunMessage, feed: &FeedKey, before: Cursor) -> Fallible<RunMessage> {
    let mut message = RunMessage { entries: Vec::new(), ..theirs.clone() };
    let version = feeds::agreements_with(node, feed.receiver).first().ok_or("no agreement")?.1;
    let mut hashes = Vec::new();
    for Carried(_, _, _, bytes) in &mut message.carried {
        let cleared = *Release::from_bytes(bytes)?.version().as_bytes();
        let at = bytes.windows(32).position(|window| window == cleared).ok_or("no version")?;
        bytes[at..at + 32].copy_from_slice(version.as_bytes());
        let record = entente_protocol::record::Verified::new(Release::from_bytes(bytes)?.into_redacted())?.id();
        let salt = Nonce::from_bytes(secret::random()?);
        let entry = Entry::Release { hash: Release::hash(bytes), salt, record }.to_bytes()?;
        hashes.push(Entry::hash_of(&entry));
        message.entries.push(RunEntry::Open(entry));
    }
    message.run = run_over(node, feed, before, &hashes, &node.keys.runs)?;
    Ok(message)
}

struct Stage {
    a: Home,
    partner: Arc<Node>,
    partner_handle: &'static str,
}

impl Stage {
    /// A session of the partner in which `moves` are made; what the node says before it closes, and the code.
    fn closed_after(
        &self,
        moves: impl FnOnce(&mut Wire) -> Fallible<()>,
    ) -> Fallible<(Vec<Message>, Option<CloseCode>)> {
        let mut wire = Wire::dial(&self.partner, &self.a)?;
        moves(&mut wire)?;
        Ok(wire.closed())
    }

    /// The partner does something that the node must close with a code, and hold no more than before.
    fn refused(&self, name: &str, code: CloseCode, moves: impl FnOnce(&mut Wire) -> Fallible<()>) -> Fallible<()> {
        let (before, log) = (self.a.received_ids(), self.a.log().len());
        let (said, told) = self.closed_after(moves).map_err(|error| format!("{name}: {error}"))?;
        assert_eq!(told, Some(code), "{name}: {}", self.a.log().get(log..).unwrap_or_default());
        // The last message carries the code too, and no receipt went out before it.
        assert!(!said.iter().any(|message| matches!(message, Message::Receipt(_))), "{name}: {said:?}");
        assert_eq!(self.a.received_ids(), before, "{name}");
        let status = self.a.json(&["status"]);
        let partners = status["partners"].as_array().cloned().unwrap_or_default();
        let partner = partners.iter().find(|p| p["handle"] == self.partner_handle);
        let error = partner.and_then(|p| p["last_error"].as_str()).unwrap_or_default();
        assert!(error.contains(code.name()), "{name}: status says `{error}`");
        self.a.logs(log, &[code.name()]);
        Ok(())
    }
}

/// Story: `b` is a partner of `a` and of `c`, and hostile. It forges, flips, replays, crosses feeds and passes on
/// others' records. `a` takes nothing of it, and `c` is served as before.
#[test]
fn what_a_hostile_partner_forges_or_replays_is_not_taken() -> Fallible<()> {
    let (world, [mut a, b, mut c]) = World::of(61, ["a", "b", "c"]);
    a.pair(&b);
    a.pair(&c);
    b.pair(&c);
    let _ab = a.agree(&b, &clauses("b", "a"));
    let ac = a.agree(&c, &clauses("c", "a"));
    let _cb = c.agree(&b, &clauses("c", "b"));
    for (home, series) in [(&b, "B"), (&c, "C")] {
        home.import(&format!("{series}.csv"), &Row::table(&world.rows(series, 6)));
    }
    b.pass(&["B-00001", "B-00002"]);
    c.pass(&["C-00001"]);
    a.start();

    // What `c` really signed for `a` and for `b`, as `b` might have got hold of it.
    let (to_a, to_b) = {
        let node = c.open();
        let mut wire = Wire::dial(&node, &a)?;
        let org = |handle: &str| node.book().find(handle).map(|(org, _)| org);
        let to = org("a")?;
        wire.talk(&node, false, PATIENCE, |_| !feeds::agreements_with(&node, to).is_empty())?;
        drop(wire);
        (signed(&node, org("a")?)?, signed(&node, org("b")?)?)
    };
    let partner = b.open();
    let org_a = partner.book().find("a")?.0;
    // Agreements come over the wire first.
    let enough = |_: &Session| !feeds::agreements_with(&partner, org_a).is_empty();
    Wire::dial(&partner, &a)?.talk(&partner, false, PATIENCE, enough)?;
    let key = feed(&partner, org_a)?;
    let good = signed(&partner, org_a)?;
    let stage = Stage { a, partner: Arc::clone(&partner), partner_handle: "b" };
    let run = |message: RunMessage| Message::Run(Box::new(message));
    let send = |message: RunMessage| move |wire: &mut Wire| wire.send(&run(message));
    let hashes: Vec<EntryHash> = good.entries.iter().map(RunEntry::hash).collect();
    let start = Cursor::start(key.id());

    // Flipped bytes: in what was released, in a proof, in the signature, in the frame's own form.
    let mut flipped = good.clone();
    flipped.carried[0].3[40] ^= 1;
    stage.refused("a flipped byte of a record", CloseCode::RUN, send(flipped))?;
    let mut flipped = good.clone();
    let node = flipped.attestations[0].nodes.first_mut().ok_or("no node")?;
    let mut bytes = *node.as_bytes();
    bytes[0] ^= 1;
    *node = entente_protocol::id::Hash::from_bytes(bytes);
    stage.refused("a flipped byte of a proof", CloseCode::RUN, send(flipped))?;
    let mut flipped = good.clone();
    if let Some(last) = flipped.run.0.last_mut() {
        *last ^= 1;
    }
    stage.refused("a flipped byte of the signature", CloseCode::RUN, send(flipped))?;
    stage.refused("a flipped byte of the form", CloseCode::MESSAGE, |wire| {
        let mut bytes = run(good.clone()).to_bytes()?;
        bytes[0] ^= 1;
        wire.frame(Lane::Records, &bytes)
    })?;

    // Forged: signed with a key of another purpose; entries that were not signed; a release that nobody attested.
    let forged = RunMessage { run: run_over(&partner, &key, start, &hashes, &partner.keys.records)?, ..good.clone() };
    stage.refused("signed by a key of another purpose", CloseCode::RUN, send(forged))?;
    let forged = RunMessage { run: run_over(&partner, &key, start, &hashes[..1], &partner.keys.runs)?, ..good.clone() };
    stage.refused("more entries than were signed", CloseCode::RUN, send(forged))?;
    stage.refused("no attestation", CloseCode::RUN, send(RunMessage { attestations: Vec::new(), ..good.clone() }))?;

    // Out of place: a feed that is another's, another agreement's, another store's, a gap.
    stage.refused("a run of another partner's feed", CloseCode::FEED, send(to_a))?;
    stage.refused("a run of a feed to another partner", CloseCode::FEED, send(to_b.clone()))?;
    let theirs = FeedKey { agreement: ac.id.parse::<AgreementId>()?, ..key };
    let crossed = run_over(&partner, &theirs, Cursor::start(theirs.id()), &hashes, &partner.keys.runs)?;
    stage.refused(
        "under an agreement of others",
        CloseCode::FEED,
        send(RunMessage { run: crossed, ..good.clone() }),
    )?;
    let other = FeedKey { epoch: 7, ..key };
    let crossed = run_over(&partner, &other, Cursor::start(other.id()), &hashes, &partner.keys.runs)?;
    stage.refused("another epoch", CloseCode::FEED, send(RunMessage { run: crossed, ..good.clone() }))?;
    let gap = run_over(&partner, &key, Cursor { length: 9, ..start }, &hashes, &partner.keys.runs)?;
    stage.refused("a gap", CloseCode::RUN, send(RunMessage { run: gap, ..good.clone() }))?;
    stage.refused("a receipt for nothing", CloseCode::FEED, |wire| {
        // A receipt of `b` for its own feed, which `a` never sent.
        let run = Run::danger_unverified(&good.run)?;
        let receipt = entente_protocol::feed::Receipt::of(&run, partner.clock.now()).sign(&partner.keys.runs)?;
        wire.send(&Message::Receipt(receipt))
    })?;

    // The run as it was signed is taken, and taken once: again in the session, and again in another one, it is only
    // countersigned again.
    assert!(stage.a.received_ids().is_empty());
    for session in 0..2 {
        let mut wire = Wire::dial(&partner, &stage.a)?;
        let mut receipts = Vec::new();
        for _ in 0..2 {
            wire.send(&run(good.clone()))?;
            receipts.push(receipt(&mut wire)?);
        }
        assert_eq!(receipts[0], receipts[1], "session {session}");
        assert_eq!(stage.a.received_ids().len(), 2, "session {session}");
    }

    // A record of another organisation, proved and without its leave: the run holds, the record is refused for good.
    let before = feeds_end(&good)?;
    let onward = passed_on(&partner, &to_b, &key, before)?;
    let log = stage.a.log().len();
    let mut wire = Wire::dial(&partner, &stage.a)?;
    wire.send(&run(onward.clone()))?;
    receipt(&mut wire)?;
    assert_eq!(stage.a.received_ids().len(), 2, "another originator's record is not kept");
    assert!(stage.a.log()[log..].contains("onward-without-grant"), "{}", &stage.a.log()[log..]);
    drop(wire);

    // Another history of the same feed: what was signed twice stops it, whatever comes after.
    let received = stage.a.received_ids();
    let log = stage.a.log().len();
    let withdrawn = |salt: u8| {
        let record = entente_protocol::id::RecordId::from_bytes([9; 32]);
        RunEntry::Open(Entry::Withdrawal { code: 1, salt: Nonce::from_bytes([salt; 16]), record }.to_bytes().unwrap())
    };
    let only = |salt: u8, before: Cursor| -> Fallible<RunMessage> {
        let run = run_over(&partner, &key, before, &[withdrawn(salt).hash()], &partner.keys.runs)?;
        Ok(RunMessage {
            run,
            onward: None,
            carried: Vec::new(),
            entries: vec![withdrawn(salt)],
            attestations: Vec::new(),
        })
    };
    let mut wire = Wire::dial(&partner, &stage.a)?;
    wire.send(&run(only(1, before)?))?;
    stage.a.logs(log, &["a feed is stopped"]);
    drop(wire);
    stage.refused("a run of a feed that is stopped", CloseCode::FEED, send(only(2, feeds_end(&onward)?)?))?;
    assert_eq!(stage.a.received_ids(), received);
    let status = stage.a.json(&["status"]);
    let told = status["partners"].as_array().into_iter().flatten().filter(|p| p["handle"] == "b");
    let told: Vec<&str> = told.filter_map(|p| p["feeds"][0]["stopped"].as_str()).collect();
    assert!(told.len() == 1 && told[0].contains("two histories"), "{status}");

    // The honest partner is served, in the same node, after all that.
    c.start();
    let round = c.sync(&stage.a);
    assert_eq!((&round["sent"], &round["acknowledged"]), (&1.into(), &1.into()));
    let held = stage.a.received();
    assert_eq!(held.iter().filter(|r| r["originator"] == "c").count(), 1, "{held:?}");
    Ok(())
}

/// Where a feed stands after a run.
fn feeds_end(message: &RunMessage) -> Fallible<Cursor> {
    Ok(Run::danger_unverified(&message.run)?.end())
}

/// The next countersignature that comes.
fn receipt(wire: &mut Wire) -> Fallible<SignatureBytes> {
    loop {
        match wire.next(PATIENCE) {
            Wired::Frame(lane, content) => {
                if let Message::Receipt(receipt) = Message::from_bytes(lane, &content)? {
                    return Ok(receipt);
                }
            }
            other => return Err(format!("no receipt: {other:?}").into()),
        }
    }
}
