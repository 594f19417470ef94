//! What is shown before anybody signs is what goes then, of others' records too.

use super::{
    onward::{Any, Three, further},
    *,
};
use crate::{
    agreements::Version,
    onward::{answering::Narrowed, asking},
    share::preview,
};
use serde_json::Value as Json;

const SHOWN: preview::Shown = preview::Shown { as_released: false, list: 10 };

/// The only party of an answer.
fn party(answer: &Json) -> Any<&Json> {
    Ok(answer["parties"].get(0).ok_or("a party")?)
}

fn names(of: &Json) -> Vec<&str> {
    of.as_array().into_iter().flatten().filter_map(Json::as_str).collect()
}

/// Story: a holder has a grant for a third party with which it has no agreement yet. What it is about to sign would let the
/// record go on, with the granted fields that the text names: `simulate` says so, with whose it is, and so it goes. `diff`
/// shows what a smaller version takes back of it; and of a record that was taken back from the holder, nothing would go.
#[test]
fn what_would_go_on_of_others_is_seen_before_signing() -> Outcome {
    let world = Three::paired()?;
    let text = testkit::agreement("2036-12-31");
    let first = text.replace("onward = \"never\"", "onward = \"with-grant\"");
    testkit::agree(world.folder.path(), &world.a, &world.b, &first)?;
    let (one, two) = (world.release("A-1")?, world.release("A-2")?);
    world.meet()?;
    let draft = world.folder.path().join("further.toml");
    std::fs::write(&draft, further(&text))?;
    let version = Version::File(draft.clone());
    let simulate = || ask(&world.b, &Call::AgreementSimulate { version: version.clone(), shown: SHOWN });
    assert_eq!(party(&simulate()?)?["leave"], 0, "nothing was granted");

    let wish = asking::Wish { purposes: vec!["tracing".to_owned()], ..world.wish() };
    asking::ask(&world.b, &[one, two], &wish)?;
    world.meet()?;
    let fields = ["number", "serial", "type"].map(str::to_owned).to_vec();
    world.grant(0, Narrowed { fields, ..Narrowed::default() })?;
    world.meet()?;
    let seen = simulate()?;
    let seen = party(&seen)?;
    assert_eq!((&seen["leave"], &seen["leave_others"], &seen["held_now"]), (&2.into(), &2.into(), &0.into()));
    let listed = &seen["listed"][0];
    assert_eq!((listed["number"].as_str(), listed["of"].as_str()), (Some("A-1"), Some("a")), "{seen:#}");
    let mut expected: Vec<&str> = names(&listed["fields"]);
    expected.sort_unstable();

    testkit::agree(world.folder.path(), &world.b, &world.c, &further(&text))?;
    world.meet()?;
    let (state, mut found) = world.at_c(one)?;
    found.sort_unstable();
    assert_eq!((state.as_str(), found.iter().map(String::as_str).collect::<Vec<_>>()), ("received", expected));

    // A version that names fewer fields takes back what went on.
    let held = world.b.rules().agreements.with(world.c.keys.org).next().map(|held| held.id).ok_or("an agreement")?;
    let old = Version::Held(held.to_string());
    let fewer = further(&text).replace("\"serial\", ", "");
    assert_ne!(fewer, further(&text));
    std::fs::write(&draft, fewer)?;
    let differs = ask(&world.b, &Call::AgreementDiff { old: old.clone(), new: version.clone(), shown: SHOWN })?;
    let change = &party(&differs)?["listed"][0];
    assert_eq!((&change["change"], &change["of"]), (&"changed".into(), &"a".into()), "{differs:#}");
    assert_eq!((names(&change["loses"]), names(&change["gains"])), (vec!["serial"], vec![]));

    // What was taken back from the holder goes on no more.
    ask(&world.a, &Call::Review { records: Selection::Ids(vec!["A-2".to_owned()]), state: Review::Refuted })?;
    world.meet()?;
    let seen = ask(&world.b, &Call::AgreementSimulate { version: old, shown: SHOWN })?;
    let seen = party(&seen)?;
    assert_eq!((&seen["leave"], &seen["held_then"]), (&1.into(), &1.into()), "{seen:#}");
    assert_eq!(world.at_c(two)?.0, "withdrawn");
    Ok(())
}
