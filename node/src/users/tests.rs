//! Persons over a node with a real store: what each may do, what the node refuses, what is left to be seen. Tests only.

use super::{
    Held, UserCall,
    sign::{self, Begun},
};
use crate::{
    call::{self, Call, Selection},
    clock::{Clock, ManualClock},
    config::{Config, RawGate, RawStage},
    custody::view::LogCall,
    error::Fault,
    ingest::import::ImportOptions,
    journal,
    keys::Ask,
    node::Node,
    records::gate::Review,
    testkit,
};
use entente_protocol::{
    cose::SignatureBytes,
    id::UserId,
    primitive::SigningKey,
    time::UnixMillis,
    user::{Role, UserAct},
};
use serde_json::Value as Json;
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const NOW: UnixMillis = UnixMillis(1_795_305_600_000);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

/// What a command does for a person: a call is signed, and what the node lays before the person is signed too.
fn by(node: &Node, name: &str, seed: u8, call: &Call) -> Result<Json, Fault> {
    let answer = ask(node, name, seed, call)?;
    let laid = answer.get("sign").and_then(Json::as_array).cloned().unwrap_or_default();
    if laid.is_empty() {
        return Ok(answer);
    }
    let events = sign::events(&key(seed), &begin(node, name)?, call, &laid)?;
    testkit::ask(node, &Call::Signed { events })
}

fn begin(node: &Node, name: &str) -> Result<Begun, Fault> {
    let answer = testkit::ask(node, &Call::User(UserCall::Begin(Some(name.to_owned()))))?;
    Begun::read(&answer).ok_or_else(|| Fault::input("test", "no nonce"))
}

fn ask(node: &Node, name: &str, seed: u8, call: &Call) -> Result<Json, Fault> {
    let by = sign::act(&key(seed), &begin(node, name)?, call)?;
    call::answer_by(node, call, Some(&by), &mut |_| {})
}

fn add(name: &str, seed: u8, roles: &[Role]) -> Call {
    Call::User(UserCall::Add {
        id: UserId::from_bytes([seed; 16]).to_string(),
        key: hex::encode(key(seed).public().as_bytes()),
        name: name.to_owned(),
        roles: roles.iter().map(|role| role.name().to_owned()).collect(),
        until: None,
        dry_run: false,
        office: false,
    })
}

/// A node with four persons: an administrator, a collector who reviews too, a reviewer, a verifier.
fn office(folder: &Path, clock: &Arc<ManualClock>) -> Result<Node, Fault> {
    let node = testkit::node(folder, "a", clock)?;
    populate(&node)?;
    Ok(node)
}

fn populate(node: &Node) -> Result<(), Fault> {
    testkit::ask(node, &add("Osei", 1, &[Role::Administrator]))?;
    for (name, seed, roles) in [
        ("Diallo", 2, &[Role::Collector, Role::Reviewer, Role::Verifier][..]),
        ("Costa", 3, &[Role::Reviewer, Role::Verifier]),
        ("Novak", 4, &[Role::Verifier, Role::Contact]),
    ] {
        by(node, "Osei", 1, &add(name, seed, roles))?;
    }
    Ok(())
}

/// One item, brought in by Diallo.
fn import(folder: &Path, node: &Node, number: &str) -> Result<Json, Box<dyn std::error::Error>> {
    Ok(by(node, "Diallo", 2, &import_call(folder, number)?)?)
}

fn import_call(folder: &Path, number: &str) -> Result<Call, Box<dyn std::error::Error>> {
    let (path, map) = (folder.join(format!("{number}.csv")), folder.join("map.toml"));
    fs::write(&path, format!("number\n{number}\n"))?;
    fs::write(
        &map,
        "name = \"m\"\n[keys]\ncolumns = [\"number\"]\n[default]\neval = { src4 = \"B\", inf4 = 2 }\n[[record]]\n\
         name = \"item\"\nkind = \"item\"\n[record.fields]\nnumber = { column = \"number\" }\n\
         type = { value = \"pistol\" }\nserial = { value = \"UNK\" }\n",
    )?;
    Ok(Call::Import(ImportOptions { path, map: Some(map), attachments: None, dry_run: false }))
}

fn review(number: &str, state: Review) -> Call {
    Call::Review { records: Selection::Ids(vec![number.to_owned()]), state }
}

fn release(number: &str) -> Call {
    Call::Release(Selection::Ids(vec![number.to_owned()]))
}

fn code(result: Result<Json, Fault>) -> String {
    result.map_or_else(|fault| fault.code, |answer| answer.to_string())
}

/// Story: the only administrator forgot the passphrase. Whoever opens the home by its own secret adds another, in the
/// office's name, and the journal says so.
#[test]
fn the_office_adds_an_administrator_where_none_can_act() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = office(folder.path(), &clock())?;
    let by_office = |roles: &[Role], seed| match add("Haddad", seed, roles) {
        Call::User(UserCall::Add { id, key, name, roles, until, dry_run, .. }) => {
            Call::User(UserCall::Add { id, key, name, roles, until, dry_run, office: true })
        }
        other => other,
    };
    assert_eq!(code(testkit::ask(&node, &by_office(&[Role::Verifier], 5))), "role");
    testkit::ask(&node, &by_office(&[Role::Administrator], 5))?;
    by(&node, "Haddad", 5, &Call::User(UserCall::Disable("Osei".to_owned())))?;
    assert!(crate::journal::texts(&node.holdings)?.join("\n").contains("user-added-by-office"));
    clean(&node)
}

/// What a step at the gate refused, for one record.
fn why(answer: &Json) -> &str {
    answer["refused"][0]["why"].as_str().unwrap_or_default()
}

fn clean(node: &Node) -> Outcome {
    let found = crate::check::check(node, false, &mut |_| {})?;
    let wrong: Vec<&Json> = found.as_array().into_iter().flatten().filter(|part| part["ok"] != true).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(NOW))
}

#[test]
fn four_eyes_see_each_record() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = office(folder.path(), &clock())?;
    import(folder.path(), &node, "N-1")?;
    let refused = ask(&node, "Diallo", 2, &review("N-1", Review::Reviewed))?;
    assert!(why(&refused).starts_with("four eyes: whoever collected"), "{refused}");
    assert_eq!(by(&node, "Costa", 3, &review("N-1", Review::Reviewed))?["changed"], 1);
    for (name, seed, who) in [("Diallo", 2, "collected"), ("Costa", 3, "reviewed")] {
        let refused = ask(&node, name, seed, &review("N-1", Review::Verified))?;
        assert!(why(&refused).starts_with(&format!("four eyes: whoever {who}")), "{refused}");
    }
    assert_eq!(by(&node, "Novak", 4, &review("N-1", Review::Verified))?["changed"], 1);
    assert_eq!(by(&node, "Novak", 4, &release("N-1"))?["changed"], 1);
    let history = ask(&node, "Novak", 4, &Call::RecordHistory("N-1".to_owned()))?;
    let steps: Vec<(&str, &str, bool)> = history["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            let person = step["person"]["name"].as_str().unwrap_or_default();
            (step["what"].as_str().unwrap_or_default(), person, step["verified"] == true)
        })
        .collect();
    let expected = [
        ("brought in", "Diallo", true),
        ("attested", "", true),
        ("reviewed", "Costa", true),
        ("verified", "Novak", true),
        ("released for sharing", "Novak", true),
    ];
    assert_eq!(steps, expected, "{history}");
    assert_eq!((&history["eyes"], &history["not_verified"]), (&Json::from("two"), &Json::from(0)));
    clean(&node)
}

#[test]
fn from_the_first_person_on_the_office_signs_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = testkit::node(folder.path(), "a", &clock())?;
    testkit::ask(&node, &import_call(folder.path(), "N-1")?)?;
    testkit::ask(&node, &review("N-1", Review::Reviewed))?;
    let shown = testkit::ask(&node, &Call::RecordShow("N-1".to_owned()))?;
    assert_eq!(shown["eyes"], "office");
    assert_eq!(
        code(testkit::ask(&node, &add("Diallo", 2, &[Role::Collector]))),
        "role",
        "the first is an administrator"
    );
    populate(&node)?;
    for call in [
        review("N-1", Review::Verified),
        release("N-1"),
        Call::Search(Default::default()),
        import_call(folder.path(), "N-2")?,
    ] {
        assert_eq!(code(testkit::ask(&node, &call)), "needs-user", "{}", call.name());
    }
    assert!(testkit::ask(&node, &Call::Status).is_ok(), "how the node stands is open");
    assert_eq!(by(&node, "Novak", 4, &release("N-1"))?["changed"], 1, "what the office signed stays");
    let history = ask(&node, "Novak", 4, &Call::RecordHistory("N-1".to_owned()))?;
    assert_eq!((&history["eyes"], &history["not_verified"]), (&Json::from("office"), &Json::from(0)), "{history}");
    clean(&node)
}

#[test]
fn a_role_that_was_taken_permits_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = office(folder.path(), &clock())?;
    import(folder.path(), &node, "N-1")?;
    assert_eq!(code(ask(&node, "Costa", 3, &release("N-2"))), "no-record");
    let roles = |add: &[&str], remove: &[&str]| {
        let names = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
        Call::User(UserCall::Roles { user: "Costa".to_owned(), add: names(add), remove: names(remove) })
    };
    assert_eq!(code(ask(&node, "Costa", 3, &roles(&["administrator"], &[]))), "not-permitted");
    // Laid before the role was taken, and signed after.
    let call = review("N-1", Review::Reviewed);
    let laid = ask(&node, "Costa", 3, &call)?["sign"].as_array().cloned().unwrap_or_default();
    let events = sign::events(&key(3), &begin(&node, "Costa")?, &call, &laid)?;
    by(&node, "Osei", 1, &roles(&["auditor"], &["reviewer", "verifier"]))?;
    assert_eq!(code(testkit::ask(&node, &Call::Signed { events })), "user-refused");
    assert_eq!(code(ask(&node, "Costa", 3, &call)), "not-permitted");
    an_auditor_reads_no_evidence_and_audits(folder.path(), &node)?;
    assert_eq!(code(by(&node, "Osei", 1, &roles(&[], &["auditor"]))), "role", "nobody is left without one");
    clean(&node)
}

/// Costa is an auditor, and nothing else.
fn an_auditor_reads_no_evidence_and_audits(folder: &Path, node: &Node) -> Outcome {
    let of = |given: &str| given.to_owned();
    let reads = [
        Call::Search(Default::default()),
        Call::RecordShow(of("N-1")),
        Call::RecordVerify(of("N-1")),
        Call::RecordHistory(of("N-1")),
        Call::RecordAttachment { record: of("N-1"), output: folder.join("file") },
        Call::Explain { record: of("N-1"), partner: of("b") },
        Call::AgreementList,
        Call::RecallList,
        Call::HoldList,
        Call::OnwardList,
        Call::PartnerList,
        Call::PackageMake(crate::package::Options {
            records: vec![of("N-1")],
            output: folder.join("package"),
            show: crate::package::Show::All,
            without_files: true,
            force: false,
        }),
    ];
    for call in reads {
        assert_eq!(code(ask(node, "Costa", 3, &call)), "not-permitted", "{call:?}");
    }
    let output = folder.join("costa.audit");
    let audits = [
        Call::Check { sweep: false },
        Call::Log(LogCall::Show),
        Call::Log(LogCall::Verify),
        Call::AuditExport(crate::audit::Options { output, force: false }),
    ];
    for call in audits {
        assert!(ask(node, "Costa", 3, &call).is_ok(), "{call:?}");
    }
    // Of the log the own one alone, and not which records there are.
    let own = ask(node, "Costa", 3, &Call::Log(LogCall::Show))?;
    assert_eq!((&own["partners"], own["size"].is_u64()), (&serde_json::json!([]), true), "{own}");
    assert_eq!(code(ask(node, "Costa", 3, &Call::Log(LogCall::Prove("N-1".to_owned())))), "not-shown");
    assert_eq!(code(ask(node, "Costa", 3, &Call::Log(LogCall::Head(None)))), "no-head");
    assert_eq!(code(ask(node, "Costa", 3, &Call::Log(LogCall::Head(Some("b".to_owned()))))), "not-shown");
    // Of the journal an auditor is shown what happened, and no word that people wrote.
    let journal = Call::Log(LogCall::Journal { after: None, limit: 1_000 });
    let (shown, whole) = (ask(node, "Costa", 3, &journal)?, ask(node, "Osei", 1, &journal)?);
    assert!(whole.to_string().contains("\"call\"") && !shown.to_string().contains("\"call\""));
    assert_eq!(shown.as_array().map(Vec::len), whole.as_array().map(Vec::len));
    Ok(())
}

#[test]
fn who_was_disabled_signs_nothing_and_what_was_signed_stays() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (clock, disable) = (clock(), |name: &str| Call::User(UserCall::Disable(name.to_owned())));
    let node = office(folder.path(), &clock)?;
    import(folder.path(), &node, "N-1")?;
    by(&node, "Costa", 3, &review("N-1", Review::Reviewed))?;
    clock.advance(1);
    by(&node, "Osei", 1, &disable("Costa"))?;
    for call in [review("N-1", Review::Refuted), Call::Search(Default::default())] {
        assert_eq!(code(ask(&node, "Costa", 3, &call)), "user-ended");
    }
    assert_eq!(code(by(&node, "Osei", 1, &disable("Costa"))), "disabled");
    assert_eq!(code(by(&node, "Osei", 1, &disable("Osei"))), "last-administrator");
    by(&node, "Osei", 1, &add("Haddad", 5, &[Role::Administrator]))?;
    assert_eq!(code(by(&node, "Osei", 1, &disable("Osei"))), "self");
    by(&node, "Haddad", 5, &disable("Osei"))?;
    let history = ask(&node, "Novak", 4, &Call::RecordHistory("N-1".to_owned()))?;
    assert_eq!(history["not_verified"], 0, "{history}");
    clean(&node)
}

/// Story: an administrator has records attested anew, and gives a colleague's name as that of who has looked at them. A name
/// that a call gives as that of whoever asks is that of who signed the call, in every call that takes one, also to look.
#[test]
fn nobody_signs_for_another() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = office(folder.path(), &clock())?;
    by(&node, "Osei", 1, &add("Haddad", 5, &Role::ALL))?;
    let calls = |name: &str| {
        let (by, reason, given) = (name.to_owned(), "r".to_owned(), "00000000".to_owned());
        let wish = crate::onward::asking::Wish {
            by: by.clone(),
            days: 1,
            every: None,
            fields: Vec::new(),
            purposes: Vec::new(),
            reason: reason.clone(),
            to: "b".to_owned(),
            until: None,
        };
        let records = crate::call::Recalled::Selected(Selection::Ids(Vec::new()));
        let act = entente_protocol::recall::Act::Withdraw;
        vec![
            Call::Keys(Ask::Reattest { by: by.clone(), dry_run: true }),
            Call::Keys(Ask::Reattest { by: by.clone(), dry_run: false }),
            Call::AgreementErase { agreement: given.clone(), by: by.clone(), copies: Vec::new() },
            Call::AgreementApprove { agreement: given.clone(), digest: given.clone(), by: by.clone() },
            Call::RecallPropose { records, act, reason: reason.clone(), by: by.clone() },
            Call::RecallConfirm { recall: 1, by: by.clone() },
            Call::RecallDrop { recall: 1, by: by.clone() },
            Call::OnwardAsk { records: Vec::new(), wish },
            Call::OnwardAnswer { request: 1, narrowed: None, by: by.clone() },
            Call::HoldPlace { record: given.clone(), reason, by: by.clone() },
            Call::HoldLift { record: given, by },
        ]
    };
    for call in calls("Costa") {
        assert_eq!(code(ask(&node, "Haddad", 5, &call)), "by", "{call:?}");
    }
    for call in calls("Haddad") {
        assert_ne!(code(ask(&node, "Haddad", 5, &call)), "by", "{call:?}");
    }
    clean(&node)
}

#[test]
fn what_another_signed_is_not_taken() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = office(folder.path(), &clock())?;
    import(folder.path(), &node, "N-1")?;
    let call = review("N-1", Review::Reviewed);
    assert_eq!(code(ask(&node, "Costa", 4, &call)), "user-refused", "by another person's key");
    assert_eq!(code(ask(&node, "Costa", 9, &call)), "user-refused", "by nobody's key");
    // A certificate that its bearer made: it is in the list, and nobody is that person.
    let (me, forged) = (super::find(&node, "Novak")?, key(9));
    let claims = entente_protocol::user::UserCertificate {
        number: me.certificate.number + 1,
        key: forged.public().clone(),
        roles: Role::ALL.to_vec(),
        ..me.certificate.clone()
    };
    let row = super::UserRow { signed: claims.sign(&forged)?.1 };
    let held: Result<Held, String> = super::verified(&node, &row);
    assert!(held.is_err_and(|why| why.contains("another key")));
    let bytes = crate::records::stored::encode("person", &row)?;
    let mut txn = node.holdings.begin();
    txn.push(crate::seal::keyring::Partition::Node, crate::store::layout::Table::UserList, b"", &bytes)?;
    txn.commit()?;
    assert_eq!(super::find(&node, "Novak")?, me);
    assert_eq!(code(ask(&node, "Novak", 9, &call)), "user-refused");
    let found = crate::check::check(&node, false, &mut |_| {})?.to_string();
    assert!(found.contains("the certificate does not hold"), "{found}");
    Ok(())
}

#[test]
fn what_was_asked_once_is_not_asked_again_by_others() -> Outcome {
    let folder = tempfile::tempdir()?;
    let clock = clock();
    let node = office(folder.path(), &clock)?;
    import(folder.path(), &node, "N-1")?;
    let search = Call::Search(Default::default());
    let signed = sign::act(&key(3), &begin(&node, "Costa")?, &search)?;
    let again = |call: &Call, by: &str| code(call::answer_by(&node, call, Some(by), &mut |_| {}));
    assert_eq!(again(&review("N-1", Review::Reviewed), &signed), "user-refused", "another call under it");
    let signed = sign::act(&key(3), &begin(&node, "Costa")?, &search)?;
    assert_ne!(again(&search, &signed), "user-refused");
    assert_eq!(again(&search, &signed), "user-refused", "once is once");
    let late = sign::act(&key(3), &begin(&node, "Costa")?, &search)?;
    clock.advance(super::acts::APART_MS + 1);
    assert_eq!(again(&search, &late), "user-refused");
    // An event is taken once, too.
    let call = review("N-1", Review::Reviewed);
    let laid = ask(&node, "Costa", 3, &call)?["sign"].as_array().cloned().unwrap_or_default();
    let events = sign::events(&key(3), &begin(&node, "Costa")?, &call, &laid)?;
    testkit::ask(&node, &Call::Signed { events: events.clone() })?;
    by(&node, "Costa", 3, &review("N-1", Review::Refuted))?;
    assert_eq!(code(testkit::ask(&node, &Call::Signed { events })), "changed");
    // Nothing is signed that was not asked for.
    let other = sign::events(&key(3), &begin(&node, "Costa")?, &release("N-1"), &laid);
    assert!(other.is_err_and(|fault| fault.message.contains("did not ask for")));
    clean(&node)
}

/// What the journal has of persons' acts, in their order.
fn acts(node: &Node) -> Result<Vec<BTreeMap<String, String>>, Fault> {
    let mut acts = Vec::new();
    for (n, event) in node.holdings.journal(None, 10_000)? {
        let parts = journal::said(&node.holdings, n, &event)?;
        acts.extend(
            parts.into_iter().filter(|part| part.what == "user-act").map(|part| part.about.into_iter().collect()),
        );
    }
    Ok(acts)
}

/// Story: an act that no event of a record names its signer of is kept as it was signed: whoever reads the journal sees
/// that this person asked for it, in these words.
#[test]
fn an_act_is_kept_as_its_person_signed_it() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = office(folder.path(), &clock())?;
    by(&node, "Osei", 1, &Call::User(UserCall::Disable("Novak".to_owned())))?;
    let kept = acts(&node)?.pop().ok_or("an act")?;
    let signed = SignatureBytes(hex::decode(&kept["signed"])?);
    let act = UserAct::verify(&signed, key(1).public())?;
    assert_eq!(act.call, UserAct::of_call(kept["asked"].as_bytes()));
    assert_eq!(act.user.to_string(), kept["certificate"]);
    assert!(kept["asked"].contains("Novak"), "{kept:?}");
    assert!(UserAct::verify(&signed, key(2).public()).is_err());
    // What may name records of others is not kept in words: it would outlive their erasure.
    let hold = Call::HoldPlace { record: "B-77".to_owned(), reason: "Tribunal".to_owned(), by: "Osei".to_owned() };
    let who = super::acts::admit(&node, &hold, Some(&sign::act(&key(1), &begin(&node, "Osei")?, &hold)?))?;
    super::acts::note(&node, &hold, &who)?;
    let last = acts(&node)?.pop().ok_or("an act")?;
    assert_eq!((last["call"].as_str(), last.contains_key("signed"), last.get("asked")), ("hold-place", true, None));
    clean(&node)
}

/// A node whose settings are changed before it is opened.
fn with_gate(folder: &Path, clock: &Arc<ManualClock>, gate: RawGate) -> Result<Node, Box<dyn std::error::Error>> {
    let home = testkit::init(folder, "a", clock.now())?;
    let raw = crate::config::RawConfig { gate: Some(gate), ..testkit::settings("a") };
    Config::check(raw.clone())?;
    fs::write(home.config(), toml::to_string(&raw)?)?;
    let node = testkit::open(folder, "a", Arc::clone(clock))?;
    populate(&node)?;
    Ok(node)
}

#[test]
fn one_person_alone_is_marked() -> Outcome {
    let folder = tempfile::tempdir()?;
    let gate = RawGate { eyes: "one".to_owned(), stage: Vec::new() };
    let node = with_gate(folder.path(), &clock(), gate)?;
    import(folder.path(), &node, "N-1")?;
    by(&node, "Diallo", 2, &review("N-1", Review::Verified))?;
    let shown = ask(&node, "Diallo", 2, &Call::RecordShow("N-1".to_owned()))?;
    assert_eq!(shown["eyes"], "one");
    let status = testkit::ask(&node, &Call::Status)?;
    assert_eq!(status["eyes"], "one");
    assert!(status["warnings"].to_string().contains("single-reviewer mode"), "{status}");
    by(&node, "Costa", 3, &review("N-1", Review::Reviewed))?;
    let history = ask(&node, "Diallo", 2, &Call::RecordHistory("N-1".to_owned()))?;
    assert_eq!(history["eyes"], "two", "another has seen it since");
    clean(&node)
}

#[test]
fn stages_are_taken_in_their_order_by_their_roles() -> Outcome {
    let folder = tempfile::tempdir()?;
    let stage = |name: &str, role: &str, state: &str| RawStage {
        name: name.to_owned(),
        role: role.to_owned(),
        state: state.to_owned(),
    };
    let stages = vec![
        stage("transcribed", "collector", "draft"),
        stage("checked", "reviewer", "reviewed"),
        stage("verified", "verifier", "verified"),
    ];
    let node = with_gate(folder.path(), &clock(), RawGate { eyes: "two".to_owned(), stage: stages })?;
    import(folder.path(), &node, "N-1")?;
    let take = |name: &str| Call::Stage { records: Selection::Ids(vec!["N-1".to_owned()]), stage: name.to_owned() };
    assert_eq!(code(ask(&node, "Costa", 3, &review("N-1", Review::Reviewed))), "stage", "a review is a stage here");
    let refused = ask(&node, "Costa", 3, &take("checked"))?;
    assert_eq!(why(&refused), "the stage `transcribed` comes first");
    let refused = ask(&node, "Costa", 3, &take("transcribed"))?;
    assert_eq!(why(&refused), "`stage` needs the role `collector`");
    by(&node, "Diallo", 2, &take("transcribed"))?;
    let refused = ask(&node, "Diallo", 2, &take("checked"))?;
    assert!(why(&refused).starts_with("four eyes: a stage"), "{refused}");
    by(&node, "Costa", 3, &take("checked"))?;
    assert!(why(&ask(&node, "Costa", 3, &take("verified"))?).starts_with("four eyes"));
    by(&node, "Novak", 4, &take("verified"))?;
    let shown = ask(&node, "Novak", 4, &Call::RecordShow("N-1".to_owned()))?;
    assert_eq!((&shown["state"], &shown["events"][1]["stage"]), (&Json::from("verified"), &Json::from("checked")));
    // What was refuted begins anew.
    by(&node, "Costa", 3, &review("N-1", Review::Refuted))?;
    assert_eq!(why(&ask(&node, "Novak", 4, &take("verified"))?), "the stage `transcribed` comes first");
    clean(&node)
}

/// Story: the machine went off after an import and before its person signed what it had kept. The next one signs it.
#[test]
fn an_import_that_was_cut_short_is_signed_by_the_next() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = office(folder.path(), &clock())?;
    let cut = ask(&node, "Diallo", 2, &import_call(folder.path(), "N-1")?)?;
    assert_eq!(cut["sign"].as_array().map(Vec::len), Some(1));
    let brought_in = |node: &Node| -> Result<String, Fault> {
        let history = ask(node, "Costa", 3, &Call::RecordHistory("N-1".to_owned()))?;
        Ok(history["steps"][0].to_string())
    };
    assert!(brought_in(&node)?.contains("was not signed by that one"), "{}", brought_in(&node)?);
    let refused = ask(&node, "Diallo", 2, &review("N-1", Review::Reviewed))?;
    assert!(why(&refused).starts_with("four eyes"), "who asked for it has collected it: {refused}");
    import(folder.path(), &node, "N-1")?;
    assert!(brought_in(&node)?.contains("signed over batch"), "{}", brought_in(&node)?);
    clean(&node)
}
