//! What was given on a lease: it locks when its giver was not met for so long, and the next meeting unlocks it.

use super::*;
use crate::{
    check, recall,
    receive::lease,
    records::{search::Query, show},
    testkit::Meeting,
};
use entente_protocol::{
    id::Nonce,
    lease::{Lease, NOTICE_LEASE},
    recall::Act,
};

const HOUR: u64 = 3_600_000;

impl World {
    /// An agreement with a lease of three days.
    fn leased() -> Result<Self, Box<dyn std::error::Error>> {
        let world = Self::strangers()?;
        let text = testkit::agreement("2036-12-31").replace("notice-days = 0", "notice-days = 0\nlease-hours = 72");
        testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
        world.exchange()?;
        world.release("A-1")?;
        world.exchange()?;
        Ok(world)
    }
    /// What a search of `b` finds, and whose it says is locked.
    fn seen(&self) -> Result<(usize, Vec<String>), Box<dyn std::error::Error>> {
        let found = ask(&self.b, &Call::Search(Query::default()))?;
        let list = |key: &str| found[key].as_array().cloned().unwrap_or_default();
        let locked = list("locked").iter().filter_map(|row| row["partner"].as_str().map(str::to_owned)).collect();
        Ok((list("records").len(), locked))
    }
    /// The clock shows this, and a session may go on: the high-water mark follows.
    fn later(&self, now: UnixMillis) -> Outcome {
        self.move_to(now)?;
        for node in [&self.a, &self.b] {
            node.marks.observe(&node.holdings, node.clock.now())?;
        }
        Ok(())
    }
}

/// Story: a laptop is taken on a journey, and is out of reach for longer than the agreement gives. Searches say that something
/// is locked, and not that nothing is there; setting its clock back helps nobody; the next meeting unlocks it.
#[test]
fn what_was_leased_locks_and_the_next_meeting_unlocks_it() -> Outcome {
    let world = World::leased()?;
    let id = show::resolve_own(&world.a, "A-1")?;
    world.later(NOW.plus(71 * HOUR))?;
    assert_eq!(world.seen()?, (1, vec![]));
    world.later(NOW.plus(73 * HOUR))?;
    assert_eq!(world.seen()?, (0, vec!["a".to_owned()]));
    for call in [
        Call::RecordShow(id.to_string()),
        Call::RecordVerify("A-1".to_owned()),
        Call::RecordAttachment { record: id.to_string(), output: world.folder.path().join("x") },
    ] {
        let refused = ask(&world.b, &call).err().ok_or("it is shown")?;
        assert!(refused.code == "locked" && refused.message.contains("entente sync a"), "{refused:?}");
    }
    // Nor is it shown by the way of what refers to it; and a court may hold it.
    crate::recall::hold::place(&world.b, &id.to_string(), "Tribunal", "M. Osei")?;
    crate::recall::hold::lift(&world.b, &id.to_string(), "M. Osei")?;
    // Back a week: what was shown once counts.
    world.clock.set(NOW.minus(7 * DAY));
    assert_eq!(world.seen()?, (0, vec!["a".to_owned()]));
    world.later(NOW.plus(74 * HOUR))?;
    // A partner whose giver has suspended it is not met in this sense.
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Suspended)?;
    world.a.reload()?;
    world.exchange()?;
    assert_eq!(world.seen()?, (0, vec!["a".to_owned()]));
    partners::set_state(&world.a, world.b.keys.org, PartnerState::Active)?;
    world.a.reload()?;
    world.exchange()?;
    assert_eq!(world.seen()?, (1, vec![]));
    assert!(
        check::check(&world.b, false, &mut |_| {})?
            .as_array()
            .is_some_and(|all| all.iter().all(|row| row["ok"] == true))
    );
    // In one session it is renewed before it runs out.
    let mut meeting = Meeting::of(&world.a, &world.b)?;
    meeting.settle()?;
    for _ in 0..4 {
        world.later(world.a.clock.now().plus(20 * HOUR))?;
        meeting.settle()?;
    }
    assert_eq!(world.seen()?, (1, vec![]));
    Ok(())
}

/// Story: a holder keeps an old word, and a hostile node says one to another nonce, for another holder, under another's name.
/// Nothing is renewed. What is locked is recalled and deleted all the same.
#[test]
fn only_a_fresh_word_of_the_giver_renews() -> Outcome {
    let world = World::leased()?;
    let (a, b) = (&world.a.keys, &world.b.keys);
    let (agreement, nonce) = (world.agreement()?, Nonce::from_bytes([3; 16]));
    world.later(NOW.plus(80 * HOUR))?;
    let lease = Lease { v: 1, time: world.a.clock.now(), giver: a.org, nonce, holder: b.org, agreement };
    let says = |lease: &Lease, key: &SigningKey| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        Ok(lease.sign(key)?.to_bytes()?)
    };
    let other = Lease { agreement: AgreementId::from_bytes([9; 16]), ..lease };
    for (content, fresh) in [
        (says(&lease, &a.runs)?, Nonce::from_bytes([4; 16])),
        (says(&lease, &b.runs)?, nonce),
        (says(&Lease { holder: a.org, ..lease }, &a.runs)?, nonce),
        (says(&other, &a.runs)?, nonce),
        (b"noise".to_vec(), nonce),
    ] {
        assert!(!lease::renew(&world.b, a.org, fresh, &content)?);
    }
    assert_eq!(world.seen()?.0, 0);
    let mut meeting = Meeting::of(&world.a, &world.b)?;
    if let Some((_, _, session)) = meeting.sides.first_mut() {
        // Before the opening nothing is said.
        assert!(session.send_notice(Notice { kind: NOTICE_LEASE, content: says(&lease, &a.runs)? }).is_err());
    }
    let record = show::resolve_own(&world.a, "A-1")?;
    recall::asking::propose(&world.a, &[record], Act::Erase, ("x", "A. Diallo"), &mut |_| {})?;
    recall::asking::confirm(&world.a, 1, "M. Osei", &mut |_| {})?;
    partners::set_state(&world.a, b.org, PartnerState::Suspended)?;
    world.a.reload()?;
    drop(meeting);
    world.exchange()?;
    assert_eq!(recall::holders::status(&world.a, 1)?["answers"].to_string(), r#"{"complied":1}"#);
    assert!(lease::renew(&world.b, a.org, nonce, &says(&lease, &a.runs)?)?);
    assert_eq!(show::show(&world.b, &record.to_string())?["state"], "erased");
    Ok(())
}
