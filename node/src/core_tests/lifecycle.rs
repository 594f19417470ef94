//! The life of an agreement, as people, files and partners drive it: what the table of states refuses is refused.

use super::*;
use crate::{clock::Clock, recall::ending};
use entente_protocol::agreement::lifecycle::State;

fn shown(node: &Node, agreement: &str) -> Result<String, AgreementError> {
    Ok(agreements::show(node, agreement)?["state"].as_str().unwrap_or_default().to_owned())
}

/// Story: one party ends an agreement. From then on neither states anything else about it, and each is told where it stands
/// and what is left to do. What the partner had stated before it heard of the end is kept, and changes nothing.
#[test]
fn what_has_ended_is_not_taken_up_again_by_anybody() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let agreement = world.agreement()?.to_string();
    agreements::state(&world.b, &agreement, Standing::Suspended)?;
    agreements::state(&world.a, &agreement, Standing::Ended)?;
    world.exchange()?;
    for node in [&world.a, &world.b] {
        assert_eq!(shown(node, &agreement)?, "ended");
        let rules = node.rules();
        assert_eq!(rules.agreements.get(world.agreement()?).map(|held| held.notices.len()), Some(2));
        for standing in [Standing::Active, Standing::Suspended, Standing::Ended] {
            let refused = agreements::state(node, &agreement, standing).err().ok_or("it is stated")?.to_string();
            assert!(refused.contains("is ended and cannot be") && refused.contains("erased"), "{refused}");
            assert!(refused.contains("entente agreement new"), "{refused}");
        }
    }
    Ok(())
}

/// Story: a proposal was dropped, and nothing else is known of its agreement. There is nothing to suspend or end.
#[test]
fn what_nobody_signed_has_no_standing() -> Outcome {
    let world = World::strangers()?;
    let (path, output) = (world.folder.path().join("draft.toml"), world.folder.path().join("draft"));
    fs::write(&path, testkit::agreement("2036-12-31"))?;
    let signed = ask(&world.b, &Call::AgreementSign { path, output })?;
    world.exchange()?;
    let [agreement, digest] = ["id", "digest"].map(|key| signed[key].as_str().unwrap_or_default().to_owned());
    let erase = || ending::erase(&world.a, &agreement, ("M. Osei", &[]), &mut |_| {});
    assert!(erase().is_err_and(|fault| fault.to_string().contains("is proposed and cannot be erased")));
    ask(&world.a, &Call::AgreementDrop { agreement: agreement.clone(), digest })?;
    let refused = agreements::state(&world.a, &agreement, Standing::Ended).err().ok_or("it is ended")?.to_string();
    assert!(refused.contains("is draft and cannot be ended") && refused.contains("agreement sign"), "{refused}");
    Ok(())
}

/// Story: sharing is suspended, and the last day passes. The agreement is over, and what came under it may be erased; on the
/// day before it may not.
#[test]
fn what_is_suspended_is_over_after_its_last_day() -> Outcome {
    let world = World::new("2026-01-01", "2026-12-31")?;
    let agreement = world.agreement()?.to_string();
    agreements::state(&world.a, &agreement, Standing::Suspended)?;
    world.exchange()?;
    let erase = || ending::erase(&world.b, &agreement, ("M. Osei", &[]), &mut |_| {});
    let refused = erase().err().ok_or("it is erased")?.to_string();
    assert!(refused.contains("is suspended and cannot be erased") && refused.contains("agreement end"), "{refused}");
    world.move_to(NOW.plus(60 * DAY))?;
    assert_eq!(shown(&world.b, &agreement)?, "expired");
    erase()?;
    assert_eq!(shown(&world.b, &agreement)?, "erased");
    Ok(())
}

/// Two definitions of when something may pass, the table's and the policy's, come to the same whatever is stated and whenever.
#[test]
fn policy_passes_what_the_table_passes() -> Outcome {
    let world = World::new("2027-01-01", "2027-12-31")?;
    let id = world.agreement()?;
    let mut seen = Vec::new();
    let mut compare = || {
        let (rules, now) = (world.a.rules(), world.a.interval());
        let state = rules.agreements.get(id).map(|held| held.state((now.early, now.late))).ok_or("held")?;
        let passes = rules.policy.passes(world.b.keys.org, id, now).is_ok();
        assert_eq!(passes, state.passes(), "{state:?} at {}", world.clock.now());
        seen.push(state);
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let [from, until] = ["2027-01-01", "2028-01-01"].map(UnixMillis::from_date);
    let (from, until) = (from.ok_or("date")?, until.ok_or("date")?);
    for now in [NOW, from.minus(1), from.plus(DAY), until.minus(DAY), until.plus(DAY)] {
        world.move_to(now)?;
        for standing in [Standing::Suspended, Standing::Active] {
            compare()?;
            agreements::state(&world.a, &id.to_string(), standing)?;
        }
    }
    agreements::state(&world.a, &id.to_string(), Standing::Ended)?;
    compare()?;
    for state in [State::NotYet, State::InForce, State::Suspended, State::Expired, State::Ended] {
        assert!(seen.contains(&state), "{state:?}");
    }
    Ok(())
}

/// Story: two persons sign for an organisation. The agreement ends before they approve its next version: their word is refused,
/// and nothing of it is kept.
#[test]
fn no_word_is_kept_for_what_cannot_be_signed() -> Outcome {
    let world = World::strangers()?;
    let named = |text: String| text.replace("name = \"B\"", "name = \"B\"\nsignatories = [\"A. Diallo\", \"M. Osei\"]");
    testkit::agree(world.folder.path(), &world.a, &world.b, &named(testkit::agreement("2036-12-31")))?;
    let agreement = world.agreement()?.to_string();
    let digest = agreements::show(&world.b, &agreement)?["digest"].as_str().ok_or("digest")?.to_owned();
    let approved = agreements::approve(&world.b, &agreement, &digest, "A. Diallo")?;
    assert_eq!(approved["state"], "approved", "one of two has said so");
    let signed = agreements::approve(&world.b, &agreement, &digest, "M. Osei")?;
    assert_eq!(signed["state"], "signed");
    world.exchange()?;
    world.next_version("2026-12-01", named)?;
    agreements::state(&world.a, &agreement, Standing::Ended)?;
    world.exchange()?;
    let proposal = |node| Ok::<_, AgreementError>(agreements::show(node, &agreement)?["proposal"].clone());
    let digest = proposal(&world.b)?["digest"].as_str().ok_or("digest")?.to_owned();
    let before = world.b.holdings.head()?.sequence;
    let refused = agreements::approve(&world.b, &agreement, &digest, "A. Diallo").err().ok_or("it is approved")?;
    assert!(refused.to_string().contains("is ended and cannot be proposed or signed"), "{refused}");
    assert_eq!(world.b.holdings.head()?.sequence, before, "something was kept");
    assert_eq!(proposal(&world.b)?["signatories_missing"].as_array().map(Vec::len), Some(2));
    Ok(())
}

/// Story: nothing goes under what has ended, and a proof does not say otherwise. What is suspended may be resumed: of that it
/// says what it lets go.
#[test]
fn what_is_over_is_not_said_to_let_anything_go() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let agreement = world.agreement()?.to_string();
    let answer = || Ok::<_, AgreementError>(agreements::prove(&world.a, "never item.type to b", 5)?["answer"].clone());
    assert_eq!(answer()?, "no");
    agreements::state(&world.a, &agreement, Standing::Suspended)?;
    assert_eq!(answer()?, "no");
    agreements::state(&world.a, &agreement, Standing::Ended)?;
    assert_eq!(answer()?, "nothing-in-force");

    let world = World::new("2026-01-01", "2026-12-31")?;
    let answer = || Ok::<_, AgreementError>(agreements::prove(&world.a, "never item.type to b", 5)?["answer"].clone());
    assert_eq!(answer()?, "no");
    world.move_to(NOW.plus(60 * DAY))?;
    assert_eq!(answer()?, "nothing-in-force");
    Ok(())
}

/// Story: the first-named party approved a version, and the other's signature comes when its last day is over. The node does
/// not sign it; a file of what every party signed in time is had again, over or not.
#[test]
fn what_is_over_is_signed_by_nobody() -> Outcome {
    let world = World::strangers()?;
    let file = |name: &str| world.folder.path().join(name);
    fs::write(file("draft.toml"), testkit::agreement("2026-12-31"))?;
    ask(&world.a, &Call::AgreementSign { path: file("draft.toml"), output: file("one") })?;
    let signed = ask(&world.b, &Call::AgreementSign { path: file("one"), output: file("two") })?;
    let agreement = signed["id"].as_str().ok_or("id")?;
    world.move_to(NOW.plus(60 * DAY))?;
    ask(&world.a, &Call::AgreementAdd(file("two")))?;
    assert_eq!(shown(&world.a, agreement)?, "proposed");

    let world = World::new("2026-01-01", "2026-12-31")?;
    world.move_to(NOW.plus(60 * DAY))?;
    let file = |name: &str| world.folder.path().join(name);
    let again = ask(&world.a, &Call::AgreementSign { path: file("two"), output: file("again") })?;
    assert_eq!(again["state"], "signed", "{again:#}");
    Ok(())
}
