//! Stories of what may never happen: false history, evidence lost, an agreement that binds at the wrong time, a stranger's
//! word that counts. Between real nodes without a network, at a clock that the test moves.

mod binding;
mod endings;
mod files;
mod hands;
mod history;
mod hostile;
mod insistent;
mod leases;
mod lifecycle;
mod log;
mod log_hostile;
mod onward;
mod previews;
mod quarantine;
mod recalls;
mod replays;
mod unseen;

use crate::{
    agreements::{self, AgreementError, Received},
    call::{Call, Selection},
    clock::ManualClock,
    error::Fault,
    exchange::{Conversation, ExchangeFault},
    node::Node,
    partners::{self, PartnerError, PartnerState},
    receive::{self, Countersigned},
    records::{
        gate::{self, Review},
        keep::{self, New},
    },
    room,
    seal::keyring::Partition,
    secret::{keyfile::KeyFile, unlock::Unlock},
    share::{
        decide,
        feeds::{self, SentRun},
        outbox,
    },
    status,
    store::layout::Table,
    testkit::{self, ask},
};
use entente_protocol::{
    agreement::{Agreement, SignedAgreement, Standing, StandingNotice},
    cose::SignatureBytes,
    error::PeerFault,
    feed::{Cursor, Entry, FeedKey, Receipt, Run},
    id::{AgreementDigest, AgreementId, EntryHash, Hash, OrgId, RecordId, StoreId},
    identity::{Armour, CardKey, CardPayload, Purpose},
    limits,
    primitive::SigningKey,
    record::{Draft, HandlingFloor, kind::Kind},
    session::{AgreementLine, Event, Heads, Lane, Message, Notice, ReceivedHead, Role, Session},
    time::UnixMillis,
    value::Value,
};
use std::{fs, path::Path, sync::Arc, thread};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// 2026-11-22.
const NOW: UnixMillis = UnixMillis(1_795_305_600_000);
const DAY: u64 = 86_400_000;
const ZERO: AgreementDigest = AgreementDigest::from_bytes([0; 32]);

struct World {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    a: Node,
    b: Node,
}

impl World {
    /// Two partners, and the usual agreement with its first and last day.
    fn new(from: &str, until: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let world = Self::strangers()?;
        let text = testkit::agreement(until).replace("2026-01-01", from);
        testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
        // The last signature travels by itself.
        world.exchange()?;
        Ok(world)
    }
    /// Two partners without an agreement.
    fn strangers() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
        testkit::pair(&a, &b)?;
        Ok(Self { folder, clock, a, b })
    }
    fn release(&self, number: &str) -> Outcome {
        testkit::release(self.folder.path(), &self.a, number)
    }
    fn exchange(&self) -> Result<(), ExchangeFault> {
        testkit::exchange(&self.a, &self.b)
    }
    fn agreement(&self) -> Result<AgreementId, &'static str> {
        self.a.rules().agreements.iter().next().map(|held| held.id).ok_or("no agreement")
    }
    /// The feed from `a` to `b`.
    fn feed(&self) -> Result<FeedKey, &'static str> {
        Ok(feeds::outgoing(&self.a, self.b.keys.org, self.agreement()?))
    }
    fn move_to(&self, now: UnixMillis) -> Result<(), Fault> {
        self.clock.set(now);
        self.a.tick()?;
        self.b.tick()
    }
    /// Both sign the next version of the agreement.
    fn next_version(&self, from: &str, change: impl FnOnce(String) -> String) -> Outcome {
        let rules = self.a.rules();
        let held = rules.agreements.get(self.agreement()?).ok_or("held")?;
        let in_force = held.in_force.as_ref().ok_or("in force")?;
        let head = format!("version = 2\nid = \"{}\"\npredecessor = \"{}\"", held.id, in_force.digest);
        let text = testkit::agreement("2036-12-31").replace("version = 1", &head).replace("2026-01-01", from);
        testkit::agree(self.folder.path(), &self.a, &self.b, &change(text))
    }
    /// Keeps an item of `a` under a handling floor, and lets it go.
    fn item(&self, number: &str, floor: HandlingFloor) -> Result<RecordId, Box<dyn std::error::Error>> {
        let draft = Draft::new(Kind::Item, self.a.keys.org, keep::new_line()?, floor);
        self.goes(draft, number, false)
    }
    /// Keeps an amendment of a record of `a`, and lets it go.
    fn amendment(
        &self,
        of: RecordId,
        number: &str,
        floor: HandlingFloor,
    ) -> Result<RecordId, Box<dyn std::error::Error>> {
        let line = keep::own(&self.a, of)?.header()?.header().line;
        let mut draft = Draft::new(Kind::Item, self.a.keys.org, line, floor);
        draft.set("supersedes", Value::Bytes(of.as_bytes().to_vec()))?;
        self.goes(draft, number, true)
    }
    fn goes(&self, mut draft: Draft, number: &str, amends: bool) -> Result<RecordId, Box<dyn std::error::Error>> {
        let fields = [
            ("number", Value::text(number)),
            ("eval", Value::map([("inf4", Value::Int(2))])),
            ("type", Value::text("rifle")),
            ("made-by", Value::text("x")),
        ];
        for (name, value) in fields {
            draft.set(name, value)?;
        }
        let record = keep::commit(draft)?;
        let id = record.id();
        let mut txn = self.a.holdings.begin();
        keep::add(&self.a, &mut txn, vec![New { record, amends, import: None }])?;
        txn.commit()?;
        gate::review(&self.a, &[id], Review::Reviewed)?;
        gate::release(&self.a, &[id])?;
        Ok(id)
    }
}

/// A card of the same organisation with the next number.
fn newer_card(folder: &Path, node: &Node) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    changed_card(folder, node, |_| {})
}

/// The same, with something else changed.
fn changed_card(
    folder: &Path,
    node: &Node,
    change: impl FnOnce(&mut CardPayload),
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let key = folder.join(format!("{}.key", node.config.handle));
    let identity = Unlock::IdentityFile(key).open(&node.home.keys())?;
    let root = KeyFile::read(&node.home.keys().join("root.age"), &identity)?;
    let mut payload = node.keys.card.payload().clone();
    payload.number += 1;
    change(&mut payload);
    Ok(payload.sign_with(&SigningKey::from_pkcs8(root.expose())?)?)
}

/// Story: a partner is removed, and its newer card is just coming in. The card changes nothing about the removal.
#[test]
fn a_card_that_comes_in_does_not_undo_a_removal() -> Outcome {
    let world = World::strangers()?;
    let org = world.b.keys.org;
    let card = newer_card(world.folder.path(), &world.b)?;
    partners::set_state(&world.a, org, PartnerState::Removed)?;
    // The rules were not read again yet: this is what a session under way still goes by.
    assert!(partners::update(&world.a, org, &card)?);
    world.a.reload()?;
    let book = world.a.book();
    let partner = book.get(org).ok_or("known")?;
    assert_eq!((partner.state, partner.card.payload().number), (PartnerState::Removed, 2));
    Ok(())
}

/// Story: a partner makes a newer card every moment, and each is kept for ever. So many are taken in an hour, and each
/// counts as filled; on a disk that is full none is written. What was not taken is taken later.
#[test]
fn cards_are_counted_and_bounded() -> Outcome {
    let mut world = World::strangers()?;
    let org = world.b.keys.org;
    let card = |number: u64| changed_card(world.folder.path(), &world.b, |card| card.number = number);
    let cards = (2..20).map(card).collect::<Result<Vec<_>, _>>()?;
    let mut filled = room::filled(&world.a, org)?;
    for card in cards.iter().take(limits::CARDS_PER_HOUR_MAX as usize) {
        assert!(partners::update(&world.a, org, card)?);
        let before = std::mem::replace(&mut filled, room::filled(&world.a, org)?);
        assert!(filled >= before + card.len() as u64, "a card is not counted");
    }
    let head = world.a.holdings.head()?.sequence;
    let last = cards.last().ok_or("cards")?;
    assert!(matches!(partners::update(&world.a, org, last), Err(PartnerError::Often)));
    world.clock.advance(3_600_000);
    world.a.config.free_bytes_min = 1 << 60;
    assert!(matches!(partners::update(&world.a, org, last), Err(PartnerError::Room(_))));
    assert_eq!(world.a.holdings.head()?.sequence, head, "something is written");
    world.a.config.free_bytes_min = 0;
    assert!(partners::update(&world.a, org, last)?);
    Ok(())
}

/// Story: who was suspended stays suspended, though its card is added once more.
#[test]
fn adding_a_card_again_does_not_resume_sharing() -> Outcome {
    let world = World::strangers()?;
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Suspended)?;
    world.a.reload()?;
    testkit::pair(&world.a, &world.b)?;
    assert_eq!(world.a.book().get(world.b.keys.org).map(|p| p.state), Some(PartnerState::Suspended));
    Ok(())
}

/// Story: a record may not go before a day, and must be destroyed on another. It goes on the one and is withdrawn on
/// the other, though nobody touches it.
#[test]
fn records_go_and_are_withdrawn_when_their_day_comes() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let floor = HandlingFloor {
        not_before: Some(NOW.plus(3 * DAY)),
        destroy_on: Some(NOW.plus(9 * DAY).date()),
        ..HandlingFloor::default()
    };
    world.item("A-1", floor)?;
    for (day, expected) in [(0, false), (2, false), (3, true), (8, true), (10, false), (400, false)] {
        world.move_to(NOW.plus(day * DAY))?;
        world.exchange()?;
        assert_eq!(!testkit::received(&world.b)?.is_empty(), expected, "day {day}");
    }
    Ok(())
}

/// A row of the wrong organisation is no reason for a panic.
#[test]
fn selections_fail_where_they_do_not_fit() -> Outcome {
    let world = World::strangers()?;
    let nobody = OrgId::from_bytes([9; 32]);
    assert!(partners::set_state(&world.a, nobody, PartnerState::Removed).is_err());
    assert!(ask(&world.a, &Call::Release(Selection::Ids(vec!["A-9".to_owned()]))).is_err());
    Ok(())
}
