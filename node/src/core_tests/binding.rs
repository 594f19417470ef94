//! Agreements: who binds whom, from which day, by which version.

use super::*;

fn notice(
    from: &Node,
    agreement: AgreementId,
    counter: u64,
    standing: Standing,
) -> Result<entente_protocol::cose::SignatureBytes, Box<dyn std::error::Error>> {
    let notice = StandingNotice { time: NOW, party: from.keys.org, counter, standing, agreement };
    Ok(notice.sign(&from.keys.agreements)?)
}

/// Story: a partner that is no party to an agreement states that it is ended. That counts for nothing. Of two
/// statements of a party with one number the stricter counts.
#[test]
fn who_is_no_party_cannot_end_an_agreement() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let c = testkit::node(world.folder.path(), "c", &world.clock)?;
    testkit::pair(&world.a, &c)?;
    let agreement = world.agreement()?;
    let standing = |node: &Node| node.rules().agreements.get(agreement).map(|held| held.standing);
    let ended = notice(&c, agreement, 7, Standing::Ended)?;
    let refused = agreements::receive_standing(&world.a, c.keys.org, &ended);
    assert!(matches!(refused, Err(AgreementError::NoParty(org)) if org == c.keys.org));
    assert_eq!(standing(&world.a), Some(Standing::Active));
    for (given, expected) in [
        (Standing::Active, Standing::Active),
        (Standing::Suspended, Standing::Suspended),
        (Standing::Active, Standing::Suspended),
    ] {
        agreements::receive_standing(&world.a, world.b.keys.org, &notice(&world.b, agreement, 3, given)?)?;
        assert_eq!(standing(&world.a), Some(expected));
    }
    Ok(())
}

/// Story: an agreement is signed in November and begins in January. What people release before then waits, and goes on
/// the first day.
#[test]
fn what_is_released_before_the_first_day_goes_on_it() -> Outcome {
    let world = World::new("2027-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    assert!(testkit::received(&world.b)?.is_empty());
    world.move_to(UnixMillis::from_date("2027-01-01").ok_or("date")?.plus(1))?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1"]);
    Ok(())
}

/// Story: the next version, which permits less, is signed weeks before its first day. Until then the one before
/// governs, and nothing is withdrawn; on that day it is.
#[test]
fn a_later_version_waits_for_its_first_day() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    world.release("A-1")?;
    world.exchange()?;
    let narrower = |text: String| {
        text.replace("disclose.item", "when = 'resource has type && resource.type == \"rifle\"'\ndisclose.item")
    };
    world.next_version("2027-01-01", narrower)?;
    world.exchange()?;
    world.release("A-2")?;
    world.exchange()?;
    assert_eq!(testkit::received(&world.b)?, ["A-1", "A-2"]);
    let states = ask(&world.a, &Call::AgreementList)?;
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&"in-force".into(), &"not-yet".into()), "{states}");
    world.move_to(UnixMillis::from_date("2027-01-01").ok_or("date")?.plus(1))?;
    world.exchange()?;
    world.exchange()?;
    assert!(testkit::received(&world.b)?.is_empty(), "the new version covers no pistol");
    let states = ask(&world.a, &Call::AgreementList)?;
    assert_eq!((&states[0]["version"], &states[0]["state"]), (&2.into(), &"in-force".into()), "{states}");
    Ok(())
}

/// Story: two draft the next version at once, and people have approved their own. What the wire brings replaces neither, and
/// people on both sides are told of the two, until one side takes the other's.
#[test]
fn what_people_approved_is_not_replaced_by_a_rival() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let rules = world.a.rules();
    let held = rules.agreements.get(world.agreement()?).ok_or("held")?;
    let before = held.in_force.as_ref().ok_or("in force")?.digest;
    let (mut digests, mut states) = (Vec::new(), Vec::new());
    let path = |name: &str| world.folder.path().join(name);
    for (node, title) in [(&world.a, "One"), (&world.b, "Another")] {
        let head = format!("version = 2\nid = \"{}\"\npredecessor = \"{before}\"", held.id);
        let text = testkit::agreement("2036-12-31").replace("version = 1", &head).replace("Every item", title);
        fs::write(path("rival.toml"), text)?;
        let signed = ask(node, &Call::AgreementSign { path: path("rival.toml"), output: path(title) })?;
        states.push(signed["state"].clone());
        digests.push(signed["digest"].as_str().ok_or("digest")?.to_owned());
    }
    world.exchange()?;
    for (node, digest) in [(&world.a, &digests[0]), (&world.b, &digests[1])] {
        let rules = node.rules();
        let held = rules.agreements.get(held.id).ok_or("held")?;
        assert_eq!(held.proposal.as_ref().map(|p| p.digest().to_string()).as_ref(), Some(digest));
        assert!(held.approved);
    }
    assert_eq!(states, ["approved", "signed"], "the first-named party signs last");
    let warnings = |node: &Node| Ok::<_, Fault>(ask(node, &Call::Status)?["warnings"].to_string());
    for node in [&world.a, &world.b] {
        let told = warnings(node)?;
        assert!(digests.iter().all(|digest| told.contains(digest)) && told.contains("agreement sign FILE"), "{told}");
    }
    ask(&world.b, &Call::AgreementSign { path: path("One"), output: path("both") })?;
    world.exchange()?;
    for node in [&world.a, &world.b] {
        assert_eq!(ask(node, &Call::AgreementShow(held.id.to_string()))?["digest"], digests[0].as_str());
        assert!(!warnings(node)?.contains("agreement sign FILE"));
    }
    Ok(())
}

/// The next version of what is in force, with every signature.
fn successor(world: &World, title: &str) -> Result<SignedAgreement, Box<dyn std::error::Error>> {
    let rules = world.a.rules();
    let before = rules.agreements.iter().find_map(|held| held.in_force.clone()).ok_or("in force")?;
    let (version, predecessor) = (before.agreement.version + 1, Some(before.digest));
    let next = Agreement { version, predecessor, title: title.to_owned(), ..before.agreement };
    let mut signed = SignedAgreement::unsigned(&next)?;
    for node in [&world.b, &world.a] {
        signed.sign(node.keys.org, &node.keys.agreements, NOW)?;
    }
    Ok(signed)
}

/// Story: each side holds another version of one agreement in force. Neither takes the other's, and the status of both names it.
#[test]
fn two_that_hold_different_versions_are_told_of_it() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let (one, another) = (successor(&world, "One")?, successor(&world, "Another")?);
    agreements::receive(&world.a, world.b.keys.org, &one.to_bytes()?)?;
    agreements::receive(&world.b, world.a.keys.org, &another.to_bytes()?)?;
    world.exchange()?;
    for (node, theirs) in [(&world.a, &another), (&world.b, &one)] {
        let status = ask(node, &Call::Status)?;
        let said = status["partners"][0]["feeds"][0]["differs"].as_str().ok_or("nothing is said of it")?;
        assert!(said.contains("another version") && said.contains(&theirs.digest().short()), "{said}");
    }
    Ok(())
}

/// Story: a text names as its predecessor what was never in force. People are told which version it names, which one is held,
/// and in which file it stands.
#[test]
fn a_wrong_predecessor_is_named() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let (id, wrong) = (world.agreement()?, "5".repeat(64));
    let held = agreements::show(&world.a, &id.to_string())?["digest"].as_str().ok_or("digest")?.to_owned();
    let (path, output) = (world.folder.path().join("next.toml"), world.folder.path().join("next"));
    let sign = |version: u64| -> Result<String, Box<dyn std::error::Error>> {
        let head = format!("version = {version}\nid = \"{id}\"\npredecessor = \"{wrong}\"");
        fs::write(&path, testkit::agreement("2036-12-31").replace("version = 1", &head))?;
        let refused = ask(&world.a, &Call::AgreementSign { path: path.clone(), output: output.clone() });
        Ok(refused.err().ok_or("it is signed")?.message)
    };
    let refused = sign(2)?;
    let named = [wrong.as_str(), &held, "next.toml", "entente agreement show"];
    assert!(named.iter().all(|part| refused.contains(part)), "{refused}");
    let refused = sign(3)?;
    assert!(
        refused.contains("version 3 does not follow version 1") && refused.contains("draft version 2"),
        "{refused}"
    );
    Ok(())
}

/// Story: a signed file came damaged. The fault names the file.
#[test]
fn a_fault_of_a_signed_file_names_the_file() -> Outcome {
    let world = World::strangers()?;
    let path = world.folder.path().join("damaged.signed");
    fs::write(&path, Armour::AGREEMENT.close(&[0]))?;
    let refused = ask(&world.a, &Call::AgreementAdd(path)).err().ok_or("it is added")?;
    assert!(refused.message.contains("damaged.signed`: the agreement is refused"), "{refused}");
    Ok(())
}

/// Story: somebody sends on what two others agreed. That it is no party is said of the sender, and not of us.
#[test]
fn who_sends_what_it_is_no_party_to_is_named() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let c = testkit::node(world.folder.path(), "c", &world.clock)?;
    let bytes = successor(&world, "One")?.to_bytes()?;
    let (sender, receiver) = (c.keys.org, world.b.keys.org);
    let refused = agreements::receive(&world.a, sender, &bytes);
    assert!(matches!(refused, Err(AgreementError::NoParty(org)) if org == sender), "{refused:?}");
    let refused = agreements::receive(&c, receiver, &bytes);
    assert!(matches!(refused, Err(AgreementError::NotOurs(org)) if org == sender), "{refused:?}");
    Ok(())
}

/// Story: a version was replaced, and somebody drafts another successor of it. Neither the party that signs last nor the
/// other signs it: one version has one successor.
#[test]
fn a_second_successor_of_a_version_is_signed_by_nobody() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let id = world.agreement()?;
    let in_force = |node: &Node| node.rules().agreements.get(id).and_then(|h| h.in_force.as_ref().map(|v| v.digest));
    let first = in_force(&world.a).ok_or("in force")?;
    world.next_version("2026-01-01", |text| text)?;
    world.exchange()?;
    let head = format!("version = 2\nid = \"{id}\"\npredecessor = \"{first}\"");
    let text = testkit::agreement("2036-12-31").replace("version = 1", &head).replace("Every item", "Another");
    let (path, output) = (world.folder.path().join("second.toml"), world.folder.path().join("second"));
    fs::write(&path, text)?;
    for node in [&world.a, &world.b] {
        let before = in_force(node).ok_or("in force")?;
        assert_ne!(before, first);
        assert!(ask(node, &Call::AgreementSign { path: path.clone(), output: output.clone() }).is_err());
        assert_eq!(in_force(node), Some(before));
    }
    assert!(!output.exists(), "nothing was signed");
    Ok(())
}

/// Story: a partner's node floods ours with drafts of ever new agreements. So many are kept, and no more.
#[test]
fn a_partner_cannot_fill_the_list_with_drafts() -> Outcome {
    let world = World::strangers()?;
    let (path, output) = (world.folder.path().join("draft.toml"), world.folder.path().join("draft"));
    let mut refused = None;
    for n in 0..=limits::PROPOSALS_PER_PARTNER_MAX {
        fs::write(&path, testkit::agreement("2036-12-31").replace("Every item", &format!("Draft {n}")))?;
        ask(&world.b, &Call::AgreementSign { path: path.clone(), output: output.clone() })?;
        let bytes = Armour::AGREEMENT.open(&fs::read_to_string(&output)?)?;
        fs::remove_file(&output)?;
        refused = agreements::receive(&world.a, world.b.keys.org, &bytes).err();
        assert_eq!(refused.is_some(), n == limits::PROPOSALS_PER_PARTNER_MAX, "{n}: {refused:?}");
    }
    assert!(matches!(refused, Some(AgreementError::TooMany { .. })));
    Ok(())
}

/// Story: a third party is proposed to join. It is told of the version that names it, and of nothing else: no version
/// that it is no party to, no standing.
#[test]
fn a_proposal_goes_to_its_own_parties() -> Outcome {
    let world = World::new("2026-01-01", "2036-12-31")?;
    let c = testkit::node(world.folder.path(), "c", &world.clock)?;
    testkit::pair(&world.a, &c)?;
    testkit::pair(&world.b, &c)?;
    let agreement = world.agreement()?;
    agreements::state(&world.a, &agreement.to_string(), Standing::Suspended)?;
    let before = world.a.rules().agreements.get(agreement).and_then(|h| h.in_force.clone()).ok_or("in force")?;
    let head = format!("version = 2\nid = \"{agreement}\"\npredecessor = \"{}\"", before.digest);
    let text = testkit::agreement("2036-12-31")
        .replace("version = 1", &head)
        .replace("[[clause]]", "[[party]]\nhandle = \"c\"\nname = \"C\"\n[[clause]]");
    let (path, output) = (world.folder.path().join("wider.toml"), world.folder.path().join("wider"));
    fs::write(&path, text)?;
    ask(&world.a, &Call::AgreementSign { path, output })?;
    testkit::exchange(&world.a, &c)?;
    let rules = c.rules();
    let held = rules.agreements.get(agreement).ok_or("told of the proposal")?;
    assert!(held.in_force.is_none() && held.notices.is_empty() && held.proposal.is_some());
    Ok(())
}

/// Story: an organisation asks for two named persons. Its node signs when both have approved the very version, whoever else of
/// its people said yes; another version needs both again, and nobody signs in their place.
#[test]
fn two_named_persons_sign_together_or_not_at_all() -> Outcome {
    let world = World::strangers()?;
    let named = "name = \"B\"\nsignatories = [\"A. Diallo\", \"M. Osei\"]";
    let text = testkit::agreement("2036-12-31").replace("name = \"B\"", named);
    testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
    world.exchange()?;
    let in_force = |node: &Node| node.rules().agreements.iter().any(|held| held.in_force.is_some());
    assert!(!in_force(&world.a) && !in_force(&world.b), "one person signed alone");
    let agreement = world.agreement()?.to_string();
    let shown = agreements::show(&world.b, &agreement)?;
    assert_eq!(shown["signatories_missing"].as_array().map(Vec::len), Some(2));
    let digest = shown["digest"].as_str().ok_or("digest")?.to_owned();
    assert!(agreements::approve(&world.b, &agreement, &digest, "N. Nobody").is_err());
    assert!(agreements::approve(&world.b, &agreement, &"0".repeat(64), "A. Diallo").is_err());
    assert!(agreements::approve(&world.a, &agreement, &digest, "A. Diallo").is_err(), "they sign for another party");
    agreements::approve(&world.b, &agreement, &digest, "a. diallo")?;
    agreements::approve(&world.b, &agreement, &digest, "A. Diallo")?;
    world.exchange()?;
    assert!(!in_force(&world.a), "one person counts twice");
    let signed = agreements::approve(&world.b, &agreement, &digest, "M. Osei")?;
    assert_eq!(
        (signed["signatories_missing"].to_string(), signed["signed_by"][0].as_str()),
        ("[]".to_owned(), Some("b"))
    );
    world.exchange()?;
    assert!(in_force(&world.a) && in_force(&world.b));
    // Another version needs both again.
    let next = |text: String| text.replace("name = \"B\"", named);
    world.next_version("2026-12-01", next)?;
    world.exchange()?;
    let shown = agreements::show(&world.b, &agreement)?;
    assert_eq!(shown["proposal"]["signatories_missing"].as_array().map(Vec::len), Some(2), "{shown}");
    Ok(())
}
