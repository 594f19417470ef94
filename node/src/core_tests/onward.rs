//! What another recorded goes on by its originator's grant, and by nothing else; and is taken back with it.

use super::*;
use crate::{
    bundle::ExportOptions,
    check,
    keys::{Ask, revoke::Revoked},
    onward::{
        answering::{self, Narrowed},
        asking::{self, Wish},
        passed, said,
    },
    recall::{asked, asking as recalls, holders, retention},
    records::{search::Query, show},
    share::fetching::{self, Resting},
};
use entente_protocol::{
    grant::{
        Grant, NOTICE_GRANT, NOTICE_HEARD, NOTICE_PASSED, NOTICE_RELAYED, NOTICE_REQUEST, Passed, PassedOn, Request,
        Scope, Told,
    },
    id::GrantId,
    recall::{Act, AnswerState, Answers, Recall, Recalls},
    time::DAY_MS,
};
use serde_json::Value as Json;

pub(super) type Any<T> = Result<T, Box<dyn std::error::Error>>;

/// An originator `a`, a holder `b`, and a third party `c` that `a` has not met.
pub(super) struct Three {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) a: Node,
    pub(super) b: Node,
    pub(super) c: Node,
}

/// The agreement of `b` with `c`, as that of `a` with `b`.
pub(super) fn further(text: &str) -> String {
    let renamed = text.replace("\"b\"", "\"x\"").replace("\"B\"", "\"X\"");
    let renamed = renamed.replace("\"a\"", "\"b\"").replace("\"A\"", "\"B\"");
    renamed.replace("\"x\"", "\"c\"").replace("\"X\"", "\"C\"")
}

impl Three {
    /// `rule` is what the first agreement says of going on.
    pub(super) fn paired() -> Any<Self> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(NOW));
        let node = |handle| testkit::node(folder.path(), handle, &clock);
        let (a, b, c) = (node("a")?, node("b")?, node("c")?);
        testkit::pair(&a, &b)?;
        testkit::pair(&b, &c)?;
        Ok(Self { folder, clock, a, b, c })
    }
    pub(super) fn new(rule: &str, first: &str, second: &str) -> Any<Self> {
        let world = Self::paired()?;
        let first = first.replace("onward = \"never\"", &format!("onward = {rule}"));
        testkit::agree(world.folder.path(), &world.a, &world.b, &first)?;
        testkit::agree(world.folder.path(), &world.b, &world.c, &further(second))?;
        Ok(world)
    }
    pub(super) fn plain(rule: &str) -> Any<Self> {
        let text = testkit::agreement("2036-12-31");
        Self::new(rule, &text, &text)
    }
    pub(super) fn release(&self, number: &str) -> Any<RecordId> {
        testkit::release(self.folder.path(), &self.a, number)?;
        Ok(show::resolve_own(&self.a, number)?)
    }
    /// Everybody meets everybody it is paired with, until nobody has anything new.
    pub(super) fn meet(&self) -> Outcome {
        for _ in 0..3 {
            testkit::exchange(&self.a, &self.b)?;
            testkit::exchange(&self.b, &self.c)?;
        }
        Ok(())
    }
    pub(super) fn wish(&self) -> Wish {
        Wish {
            to: "c".to_owned(),
            every: None,
            fields: Vec::new(),
            purposes: Vec::new(),
            days: 20,
            until: Some("2027-06-01".to_owned()),
            reason: "the panel asks for it".to_owned(),
            by: "A. Diallo".to_owned(),
        }
    }
    pub(super) fn ask(&self, records: &[RecordId]) -> Result<Json, Fault> {
        Ok(asking::ask(&self.b, records, &self.wish())?)
    }
    pub(super) fn grant(&self, request: u64, narrowed: Narrowed) -> Result<Json, Fault> {
        Ok(answering::answer(&self.a, request, Some(&narrowed), "M. Osei")?)
    }
    /// `b` asks, `a` lets a record go on as asked, and it goes.
    pub(super) fn let_on(&self, record: RecordId) -> Outcome {
        self.ask(&[record])?;
        self.meet()?;
        self.grant(0, Narrowed::default())?;
        self.meet()
    }
    /// `c` holds `A-1` of `a` by the hand of `b`.
    pub(super) fn passed_on() -> Any<(Self, RecordId)> {
        let world = Self::plain("\"with-grant\"")?;
        let record = world.release("A-1")?;
        world.meet()?;
        world.let_on(record)?;
        assert_eq!(world.at_c(record)?.0, "received");
        Ok((world, record))
    }
    /// What `c` shows of a record: its state and its fields.
    pub(super) fn at_c(&self, record: RecordId) -> Any<(String, Vec<String>)> {
        let Ok(shown) = show::show(&self.c, &record.to_string()) else { return Ok((String::new(), Vec::new())) };
        let fields = shown["fields"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        Ok((shown["state"].as_str().ok_or("state")?.to_owned(), fields))
    }
    fn holders(&self) -> Any<Vec<(String, String)>> {
        let all = passed::list(&self.a, None)?;
        let text = |row: &Json, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        Ok(all.as_array().into_iter().flatten().map(|row| (text(row, "holder"), text(row, "state"))).collect())
    }
    pub(super) fn is_whole(&self) -> Outcome {
        for node in [&self.a, &self.b, &self.c] {
            let found = check::check(node, false, &mut |_| {})?;
            let wrong: Vec<&Json> = found.as_array().into_iter().flatten().filter(|row| row["ok"] == false).collect();
            if !wrong.is_empty() {
                return Err(format!("{}: {wrong:#?}", node.config.handle).into());
            }
        }
        Ok(())
    }
}

/// Story: a holder countersigned a record before its key was stolen, and passed it on since. The holder does not doubt it; who
/// has it by the holder's hand does, and so does the originator, until somebody there has looked at it.
#[test]
fn what_others_passed_on_since_a_theft_is_suspect_at_its_originator() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let record = world.release("A-1")?;
    world.meet()?;
    let marked = |node: &Node| -> Result<bool, Fault> {
        let found = testkit::ask(node, &Call::Search(Query { number: Some("A-1".to_owned()), ..Query::default() }))?;
        let rows = found.get("records").or(Some(&found)).and_then(Json::as_array).cloned().unwrap_or_default();
        Ok(rows.iter().any(|row| row["suspect"].is_string()))
    };
    world.clock.advance(2 * DAY_MS);
    world.meet()?;
    world.let_on(record)?;
    assert_eq!(world.at_c(record)?.0, "received");
    world.clock.advance(DAY_MS);
    let revoked = Revoked {
        key: world.a.keys.records.public().id().to_string(),
        reason: "laptop stolen".to_owned(),
        since: Some(NOW.plus(DAY_MS)),
        dry_run: false,
        next_root_lost: false,
    };
    assert_eq!(testkit::ask(&world.a, &Call::Keys(Ask::Revoke(revoked)))?["done"], true);
    world.meet()?;
    assert_eq!((marked(&world.a)?, marked(&world.b)?), (true, false));
    // The card of an organisation that it never met comes with what is passed on: it may not have the newest.
    testkit::ask(&world.a, &Call::Keys(Ask::Reattest { by: "A. Diallo".to_owned(), dry_run: false }))?;
    world.meet()?;
    assert_eq!((marked(&world.a)?, marked(&world.b)?), (false, false));
    world.is_whole()
}

/// Story: a holder asks, the originator lets two of the fields go on, and a third party, which has never met the
/// originator, holds and proves them. The originator lists it. An answer that says no takes it back.
#[test]
fn what_was_granted_goes_on_and_is_proved_and_listed() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let (one, two) = (world.release("A-1")?, world.release("A-2")?);
    world.meet()?;
    assert_eq!(world.at_c(one)?.0, "", "nothing goes on by itself");
    let asked = world.ask(&[one])?;
    assert_eq!((asked[0]["partner"].as_str(), asked[0]["state"].as_str()), (Some("a"), Some("waits")));
    world.meet()?;
    assert_eq!((asking::list(&world.b)?[0]["state"].as_str(), world.at_c(one)?.0.as_str()), (Some("asked"), ""));
    let known = asking::list(&world.a)?;
    assert_eq!((known[0]["partner"].as_str(), known[0]["reason"].as_str()), (Some("b"), Some("the panel asks for it")));

    let fields = vec!["number".to_owned(), "serial".to_owned()];
    world.grant(0, Narrowed { fields, ..Narrowed::default() })?;
    world.meet()?;
    assert_eq!(world.at_c(one)?, ("received".to_owned(), vec!["number".to_owned(), "serial".to_owned()]));
    assert_eq!(world.at_c(two)?.0, "", "of another line nothing was granted");
    assert_eq!(world.holders()?, [("c (introduced by b)".to_owned(), "holds".to_owned())]);
    assert_eq!(asking::list(&world.b)?[0]["state"], "granted");
    // The third party proves it against the originator's own attestation, and says that it knows it by hearsay.
    let shown = show::show(&world.c, &one.to_string())?;
    assert_eq!(shown["originator"], "a (introduced by b)");
    let proof = show::verify(&world.c, &one.to_string())?;
    assert_eq!(proof["ok"], true, "{proof:#}");
    let found = ask(&world.c, &Call::Search(Query { serial: Some("SN 1".to_owned()), ..Query::default() }))?;
    assert_eq!(found["records"].as_array().map(Vec::len), Some(1));
    world.is_whole()?;
    // Nothing new is said again.
    let before = world.c.holdings.head()?;
    world.meet()?;
    assert_eq!(world.c.holdings.head()?, before);

    // More fields replace fewer, and a no takes all of it back.
    world.grant(0, Narrowed::default())?;
    world.meet()?;
    assert_eq!(world.at_c(one)?.1.len(), 6);
    answering::answer(&world.a, 0, None, "M. Osei")?;
    world.meet()?;
    assert_eq!(world.at_c(one)?.0, "withdrawn");
    assert_eq!(world.holders()?, [("c (introduced by b)".to_owned(), "taken-back".to_owned())]);
    world.grant(0, Narrowed::default())?;
    world.meet()?;
    assert_eq!(world.at_c(one)?.0, "received", "and another yes gives it again");
    world.is_whole()
}

/// Story: what an originator recalls is gone at the third party too, which answers with its own signature; the holder
/// waits for it. Who has not confirmed is named.
#[test]
fn a_recall_reaches_the_onward_holder_and_comes_back_signed() -> Outcome {
    let (world, one) = Three::passed_on()?;

    let proposed = recalls::propose(&world.a, &[one], Act::Erase, ("in danger", "A. Diallo"), &mut |_| {})?;
    let would: Vec<&str> =
        proposed["holders"].as_array().into_iter().flatten().filter_map(|h| h["handle"].as_str()).collect();
    assert_eq!(would.len(), 2, "{proposed:#}");
    recalls::confirm(&world.a, 1, "M. Osei", &mut |_| {})?;
    assert_eq!(holders::status(&world.a, 1)?["answers"].to_string(), r#"{"asked":2}"#);
    testkit::exchange(&world.a, &world.b)?;
    let status = holders::status(&world.a, 1)?;
    assert_eq!(
        (status["answers"].to_string().as_str(), status["open"].as_u64()),
        (r#"{"asked":1,"waiting":1}"#, Some(2))
    );
    testkit::exchange(&world.b, &world.c)?;
    assert_eq!(world.at_c(one)?, ("erased".to_owned(), Vec::new()));
    assert_eq!(asked::list(&world.c)?[0]["partner"], "b");
    testkit::exchange(&world.a, &world.b)?;
    let status = holders::status(&world.a, 1)?;
    assert_eq!((status["answers"].to_string().as_str(), status["open"].as_u64()), (r#"{"complied":2}"#, Some(0)));
    let through = status["holders"].as_array().into_iter().flatten().find(|h| h["through"] == "b");
    assert_eq!(through.map(|h| h["handle"].clone()), Some("c (introduced by b)".into()));
    assert!(show::verify(&world.c, &one.to_string())?["ok"] == false);
    world.is_whole()
}

/// Story: an agreement that never lets anything go on, one that names who may receive it, and what cannot be asked.
#[test]
fn the_agreement_under_which_it_came_decides_first() -> Outcome {
    let world = Three::plain("\"never\"")?;
    let one = world.release("A-1")?;
    world.meet()?;
    let refused = |asked: Result<Json, Fault>, why: &str| {
        let said = asked.err().map(|fault| fault.to_string()).unwrap_or_default();
        assert!(said.contains(why), "{said}");
    };
    refused(world.ask(&[one]), "does not let it go on");
    refused(world.ask(&[]), "no record is named");
    refused(world.ask(&[RecordId::from_bytes([7; 32])]), "is not held here");
    let wrong = |change: fn(&mut Wish), why: &str| -> Outcome {
        let mut wish = world.wish();
        change(&mut wish);
        refused(asking::ask(&world.b, &[one], &wish).map_err(Fault::from), why);
        Ok(())
    };
    wrong(|wish| wish.to = "a".to_owned(), "own")?;
    wrong(|wish| wish.to = "nobody".to_owned(), "no partner")?;
    wrong(|wish| wish.by = " ".to_owned(), "who you are")?;
    wrong(|wish| wish.reason = "two\nlines".to_owned(), "say why")?;
    let own = show::resolve_own(&world.a, "A-1")?;
    let ours = asking::ask(&world.a, &[own], &Wish { to: "b".to_owned(), ..world.wish() }).map_err(Fault::from);
    refused(ours, "is ours");
    assert_eq!(asking::list(&world.b)?, Json::Array(Vec::new()));

    Ok(())
}

/// Story: three parties signed that what one gives another may go on to the third. It is asked for, and nobody need answer:
/// the grant says what the clause says, and no more.
#[test]
fn an_agreement_that_names_the_receiver_has_answered() -> Outcome {
    let world = Three::paired()?;
    testkit::pair(&world.a, &world.c)?;
    testkit::agree(world.folder.path(), &world.b, &world.c, &further(&testkit::agreement("2036-12-31")))?;
    let text = testkit::agreement("2027-03-01").replacen(
        "[[clause]]",
        "[[party]]\nhandle = \"c\"\nname = \"C\"\n[[clause]]",
        1,
    );
    let at = |name: &str| world.folder.path().join(name);
    std::fs::write(at("three.toml"), text.replace("onward = \"never\"", "onward = [\"c\"]"))?;
    ask(&world.a, &Call::AgreementSign { path: at("three.toml"), output: at("1") })?;
    ask(&world.b, &Call::AgreementSign { path: at("1"), output: at("2") })?;
    ask(&world.c, &Call::AgreementSign { path: at("2"), output: at("3") })?;
    ask(&world.a, &Call::AgreementAdd(at("3")))?;
    world.meet()?;
    let one = world.release("A-1")?;
    world.meet()?;
    asking::ask(&world.b, &[one], &Wish { days: 900, until: Some("2030-01-01".to_owned()), ..world.wish() })?;
    world.meet()?;
    assert_eq!(asking::list(&world.a)?[0]["state"], "granted");
    assert_eq!(world.at_c(one)?.0, "received");
    let held = crate::onward::holding::held(&world.b, &world.b.rules(), one, world.c.keys.org)?.ok_or("held")?;
    let rules = world.b.rules();
    let got = rules.grants.covering(world.c.keys.org, held.verified.header()).ok_or("a grant")?;
    assert_eq!((got.grant.scope.retention_days, got.grant.scope.until.to_string().get(..10)), (30, Some("2027-03-02")));
    Ok(())
}

/// Story: an originator that a partner introduced is known for its signatures, and is no partner: it is not dialled, nothing
/// is agreed with it, and once its words were compared it is the partner.
#[test]
fn who_is_introduced_is_no_partner() -> Outcome {
    let (world, one) = Three::passed_on()?;
    let (a, book) = (world.a.keys.org, world.c.book());
    assert!(book.get(a).is_none() && book.introduced(a).is_some() && book.find("a").is_err());
    assert_eq!(ask(&world.c, &Call::PartnerList)?.as_array().map(Vec::len), Some(1));
    let kid = world.a.keys.runs.public().id();
    assert!(book.key(a, Purpose::Runs, kid, NOW).is_none() && book.past_key(a, Purpose::Runs, kid, NOW, NOW).is_none());
    assert!(matches!(Conversation::open(&world.c, a, Role::Acceptor), Err(ExchangeFault::Unknown)));
    // What it recorded cannot be asked for either: nobody here knows it.
    let wish = Wish { to: "b".to_owned(), ..world.wish() };
    let said = asking::ask(&world.c, &[one], &wish).map_err(|error| error.to_string());
    assert!(said.is_err_and(|why| why.contains("goes no further")));
    testkit::pair(&world.a, &world.c)?;
    assert_eq!(show::show(&world.c, &one.to_string())?["originator"], "a");
    assert_eq!(show::verify(&world.c, &one.to_string())?["ok"], true);
    world.is_whole()
}

/// Story: a partner says that it passed on what it was never allowed to. That is kept, and people are told.
#[test]
fn what_is_passed_on_without_a_grant_is_told() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let one = world.release("A-1")?;
    world.meet()?;
    let on = |record| PassedOn {
        to: world.c.keys.org,
        gone: false,
        grant: GrantId::from_bytes([9; 32]),
        record,
        agreement: AgreementId::from_bytes([8; 16]),
    };
    let said = |records: &[RecordId]| -> Any<Vec<u8>> {
        let passed = records.iter().map(|record| on(*record)).collect();
        let signed = Passed { v: 1, time: NOW, holder: world.b.keys.org, passed }.sign(&world.b.keys.runs)?;
        Ok(Told { cards: Vec::new(), signed }.to_bytes()?)
    };
    let b = world.b.keys.org;
    passed::take(&world.a, b, &said(&[RecordId::from_bytes([7; 32])])?)?;
    assert_eq!(passed::list(&world.a, None)?, Json::Array(Vec::new()), "of a record that is none of ours");
    passed::take(&world.a, b, &said(&[one])?)?;
    let held = passed::list(&world.a, Some(one))?;
    assert_eq!((&held[0]["granted"], held[0]["by"].as_str()), (&Json::Bool(false), Some("b")));
    let head = world.a.holdings.head()?;
    passed::take(&world.a, b, &said(&[one])?)?;
    assert_eq!(world.a.holdings.head()?, head, "said again, nothing is written");
    assert!(passed::take(&world.a, world.c.keys.org, &said(&[one])?).is_err(), "not signed by who says it");
    world.is_whole()
}

/// Story: an organisation holds a record from its originator and from another's hand under one agreement. What the other
/// takes back is not taken from it.
#[test]
fn what_its_originator_gives_is_not_put_in_the_shade() -> Outcome {
    let world = Three::paired()?;
    testkit::pair(&world.a, &world.c)?;
    let at = |name: &str| world.folder.path().join(name);
    let text = testkit::agreement("2036-12-31").replacen(
        "[[clause]]",
        "[[party]]\nhandle = \"c\"\nname = \"C\"\n[[clause]]",
        1,
    );
    let clause = |from: &str, to: &str| {
        format!(
            "[[clause]]\nname = \"from-{from}\"\nfrom = \"{from}\"\nto = [{to}]\nonward = \"with-grant\"\nretention-days = 30\n\
             disclose.item = [\"number\", \"eval\", \"type\", \"serial\"]\n"
        )
    };
    let parties = text.split("[[clause]]").next().ok_or("parties")?;
    std::fs::write(at("three.toml"), parties.to_owned() + &clause("a", "\"b\", \"c\"") + &clause("b", "\"c\""))?;
    ask(&world.a, &Call::AgreementSign { path: at("three.toml"), output: at("1") })?;
    ask(&world.b, &Call::AgreementSign { path: at("1"), output: at("2") })?;
    ask(&world.c, &Call::AgreementSign { path: at("2"), output: at("3") })?;
    ask(&world.a, &Call::AgreementAdd(at("3")))?;
    world.meet()?;
    testkit::exchange(&world.a, &world.c)?;
    let one = world.release("A-1")?;
    world.meet()?;
    testkit::exchange(&world.a, &world.c)?;
    assert_eq!(world.at_c(one)?.1.len(), 4);
    world.ask(&[one])?;
    world.meet()?;
    world.grant(0, Narrowed { fields: vec!["number".to_owned()], ..Narrowed::default() })?;
    world.meet()?;
    assert_eq!(world.holders()?, [("c".to_owned(), "holds".to_owned())]);
    assert_eq!(world.at_c(one)?.1.len(), 4, "what the originator gave stands");
    answering::answer(&world.a, 0, None, "M. Osei")?;
    world.meet()?;
    assert_eq!((world.holders()?[0].1.as_str(), world.at_c(one)?.0.as_str()), ("taken-back", "received"));
    world.is_whole()
}

/// Story: notices that are malformed, of another, or for another. Nothing is kept, nothing is said to be heard, and the
/// session goes on.
#[test]
fn what_is_not_understood_is_not_heard() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let one = world.release("A-1")?;
    world.meet()?;
    let before = [world.a.holdings.head()?, world.b.holdings.head()?];
    let scope = Scope {
        kind: Kind::Item,
        lines: Vec::new(),
        slots: [0].into_iter().collect(),
        purposes: Vec::new(),
        retention_days: 3,
        until: UnixMillis(NOW.0 + DAY),
    };
    let [a, b, c] = [&world.a, &world.b, &world.c].map(|node| node.keys.org);
    let grant = |from, to| Grant { scope: scope.clone(), from, to, time: NOW, originator: a };
    let (ours, theirs) = (&world.a.keys, &world.b.keys);
    let request = Request { scope: scope.clone(), to: a, time: NOW, reason: "x".to_owned(), holder: b };
    let wrong: Vec<(u16, Vec<u8>, bool)> = vec![
        (NOTICE_REQUEST, vec![0x80], true),
        (NOTICE_REQUEST, request.sign(&theirs.runs)?.to_bytes()?, true),
        (NOTICE_REQUEST, Request { to: c, ..request.clone() }.sign(&theirs.records)?.to_bytes()?, true),
        (NOTICE_GRANT, vec![0xff; 9], false),
        (NOTICE_GRANT, grant(b, c).sign(&ours.runs)?.1.to_bytes()?, false),
        (NOTICE_GRANT, grant(c, b).sign(&ours.records)?.1.to_bytes()?, false),
        (NOTICE_PASSED, vec![0xa0], true),
        (NOTICE_RELAYED, vec![0xa0], true),
        (NOTICE_HEARD, vec![0x80], true),
    ];
    for (kind, content, to_a) in wrong {
        let mut meeting = testkit::Meeting::of(&world.a, &world.b)?;
        meeting.settle()?;
        let (_, _, session) = meeting.sides.get_mut(usize::from(to_a)).ok_or("a side")?;
        session.send_notice(Notice { kind, content })?;
        meeting.settle()?;
        assert!(meeting.sides.iter().all(|(_, _, session)| session.is_open()), "notice {kind}");
    }
    assert_eq!([world.a.holdings.head()?, world.b.holdings.head()?], before);
    assert_eq!(asking::list(&world.a)?, Json::Array(Vec::new()));
    // What is well said after it is heard.
    world.ask(&[one])?;
    world.meet()?;
    assert_eq!(asking::list(&world.b)?[0]["state"], "asked");
    Ok(())
}

/// Story: a withdrawn record is withdrawn further, and what is over is deleted there though the clause would keep it longer.
#[test]
fn what_becomes_of_it_here_becomes_of_it_there() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let (one, two) = (world.release("A-1")?, world.release("A-2")?);
    world.meet()?;
    world.ask(&[one, two])?;
    world.meet()?;
    world.grant(0, Narrowed::default())?;
    world.meet()?;
    assert_eq!((world.at_c(one)?.0, world.at_c(two)?.0), ("received".to_owned(), "received".to_owned()));
    // Refuted by its originator: withdrawn at the holder, and by the holder at the third party.
    gate::review(&world.a, &[one], Review::Refuted)?;
    world.meet()?;
    assert_eq!((world.at_c(one)?.0, world.at_c(two)?.0), ("withdrawn".to_owned(), "received".to_owned()));
    // Twenty days are over; the clause would keep it for thirty.
    world.clock.advance(21 * 86_400_000);
    while retention::step(&world.c)? {}
    assert_eq!(world.at_c(two)?, ("erased".to_owned(), Vec::new()));
    assert_eq!(show::show(&world.b, &two.to_string())?["state"], "received", "the holder has it for thirty");
    world.is_whole()
}

/// Story: a photograph goes on with its file, and points at the item that it shows.
#[test]
fn a_photograph_goes_on_with_its_file() -> Outcome {
    let text = testkit::agreement_with_files("2036-12-31");
    let world = Three::new("\"with-grant\"", &text, &text)?;
    let one = world.release("A-1")?;
    let (photograph, row) = testkit::file(&world.a, one, "A-1/1", b"a photograph")?;
    world.meet()?;
    world.ask(&[one, photograph])?;
    world.meet()?;
    for request in 0..asking::list(&world.a)?.as_array().map_or(0, Vec::len) {
        world.grant(request as u64, Narrowed::default())?;
    }
    world.meet()?;
    let (state, fields) = world.at_c(photograph)?;
    assert_eq!((state.as_str(), fields.contains(&"of".to_owned())), ("received", true), "{fields:?}");
    let b = world.b.keys.org;
    let wanted = fetching::wanted(&world.c, b, &Resting::default())?;
    assert_eq!(wanted.len(), 1);
    // The holder gives it once it has it itself.
    let file = &wanted[0].file;
    let given =
        |node: &Node| crate::share::files::given(node, &file.feed, file.number, crate::share::files::content_slot());
    assert!(matches!(given(&world.b)?, crate::share::files::Given::NotNow));
    let held = crate::onward::holding::held(&world.b, &world.b.rules(), photograph, world.c.keys.org)?.ok_or("held")?;
    let here = crate::share::files::put(&world.b, held.partition(), &mut &b"a photograph"[..])?;
    assert_eq!(here.content(), row.content());
    let mut txn = world.b.holdings.begin();
    crate::share::files::keep(&mut txn, held.partition(), &here)?;
    txn.commit()?;
    assert!(
        matches!(given(&world.b)?, crate::share::files::Given::File(record, partition, _) if record == photograph && partition == held.partition())
    );
    // What was taken back is given no more.
    answering::answer(&world.a, 1, None, "M. Osei")?;
    answering::answer(&world.a, 0, None, "M. Osei")?;
    world.meet()?;
    assert!(matches!(given(&world.b)?, crate::share::files::Given::Nothing));
    world.is_whole()
}

/// Story: an agreement whose receiver must be met again, or what it holds locks, is not got round by passing on.
#[test]
fn a_lease_is_not_got_round_by_passing_on() -> Outcome {
    let leased = testkit::agreement("2036-12-31").replace("notice-days = 0", "notice-days = 0\nlease-hours = 48");
    let world = Three::new("\"with-grant\"", &leased, &testkit::agreement("2036-12-31"))?;
    let one = world.release("A-1")?;
    world.meet()?;
    world.let_on(one)?;
    assert_eq!(world.at_c(one)?.0, "", "the second agreement has no lease");
    let short = testkit::agreement("2036-12-31").replace("notice-days = 0", "notice-days = 0\nlease-hours = 24");
    testkit::agree(world.folder.path(), &world.b, &world.c, &further(&short))?;
    world.meet()?;
    assert_eq!(world.at_c(one)?.0, "received");
    // It locks with whoever gave it, and says so.
    let why = ask(&world.b, &Call::Explain { record: one.to_string(), partner: "c".to_owned() })?;
    let codes: Vec<&str> =
        why["agreements"].as_array().into_iter().flatten().filter_map(|a| a["code"].as_str()).collect();
    assert_eq!((why["leaves"].as_bool(), codes), (Some(true), vec!["onward-lease"]), "{why:#}");
    world.clock.advance(25 * 3_600_000);
    let locked = show::show(&world.c, &one.to_string()).map_err(|fault| fault.code);
    assert_eq!(locked, Err("locked".to_owned()));
    let found = ask(&world.c, &Call::Search(Query { serial: Some("SN 1".to_owned()), ..Query::default() }))?;
    assert_eq!(found["records"], Json::Array(Vec::new()));
    world.meet()?;
    assert_eq!(world.at_c(one)?.0, "received");
    Ok(())
}

/// Story: the same without a network: requests, grants, what was passed on, a recall and its answers go by bundles, and what
/// was heard is not said again.
#[test]
fn what_goes_on_goes_by_bundles_too() -> Outcome {
    let world = Three::plain("\"with-grant\"")?;
    let mut sticks = 0;
    let mut round = || -> Outcome {
        for (from, to) in [(&world.a, &world.b), (&world.b, &world.c), (&world.c, &world.b), (&world.b, &world.a)] {
            sticks += 1;
            let output = world.folder.path().join(format!("{sticks}.bundle"));
            let options = ExportOptions {
                to: to.config.handle.clone(),
                output: output.clone(),
                again: true,
                ..ExportOptions::default()
            };
            ask(from, &Call::BundleExport(options))?;
            ask(to, &Call::BundleImport(output))?;
        }
        Ok(())
    };
    let one = world.release("A-1")?;
    round()?;
    world.ask(&[one])?;
    round()?;
    world.grant(0, Narrowed::default())?;
    round()?;
    round()?;
    assert_eq!((world.at_c(one)?.0.as_str(), world.holders()?.len()), ("received", 1));
    assert_eq!(asking::list(&world.b)?[0]["state"], "granted");
    recalls::propose(&world.a, &[one], Act::Erase, ("in danger", "A. Diallo"), &mut |_| {})?;
    recalls::confirm(&world.a, 1, "M. Osei", &mut |_| {})?;
    for _ in 0..3 {
        round()?;
    }
    assert_eq!(world.at_c(one)?.0, "erased");
    let status = holders::status(&world.a, 1)?;
    assert_eq!((status["answers"].to_string().as_str(), status["open"].as_u64()), (r#"{"complied":2}"#, Some(0)));
    for (node, partner) in [(&world.a, &world.b), (&world.b, &world.a)] {
        assert!(said::to_say(node, partner.keys.org, 0)?.is_empty(), "what was heard is not said again");
    }
    world.is_whole()
}

/// Story: the agreement under which something came is ended, or says never from now on. What went on under it is taken
/// back, and the originator hears it.
#[test]
fn what_its_agreement_lets_go_on_no_more_is_taken_back() -> Outcome {
    for end in [true, false] {
        let (world, one) = Three::passed_on()?;
        let rules = world.a.rules();
        let held = rules.agreements.iter().next().ok_or("an agreement")?;
        let digest = held.in_force.as_ref().ok_or("in force")?.digest;
        if end {
            agreements::state(&world.a, &held.id.to_string(), Standing::Ended)?;
        } else {
            let head = format!("version = 2\nid = \"{}\"\npredecessor = \"{digest}\"", held.id);
            let text = testkit::agreement("2036-12-31").replace("version = 1", &head);
            testkit::agree(world.folder.path(), &world.a, &world.b, &text)?;
        }
        world.meet()?;
        assert_eq!(world.at_c(one)?.0, "withdrawn", "ended: {end}");
        assert_eq!(world.holders()?, [("c (introduced by b)".to_owned(), "taken-back".to_owned())]);
    }
    Ok(())
}

/// Story: an originator grants what nobody asked for, and a stranger to a record says recalls of it without end. Nothing is
/// written for either, and nobody learns who holds what.
#[test]
fn nobody_makes_others_pass_on_or_hear_what_is_none_of_theirs() -> Outcome {
    let (world, one) = Three::passed_on()?;
    let [a, b, c] = [&world.a, &world.b, &world.c].map(|node| node.keys.org);
    let before = [world.b.holdings.head()?, world.c.holdings.head()?];
    let scope = Scope {
        kind: Kind::Item,
        lines: Vec::new(),
        slots: [0].into_iter().collect(),
        purposes: Vec::new(),
        retention_days: 3,
        until: UnixMillis(NOW.0 + DAY),
    };
    let unasked =
        Grant { scope, from: b, to: c, time: UnixMillis(NOW.0 + 9), originator: a }.sign(&world.a.keys.records)?.1;
    assert!(crate::onward::grants::take(&world.b, a, &unasked).is_err(), "nobody here asked for all of a kind");
    // `c` holds the record and is none of its giver's givers: it recalls it as its own.
    let recall = Recall::new(Act::Erase, c, one, NOW).sign(&world.c.keys.records)?.1;
    let answer = asked::take(&world.b, c, &Recalls::own(vec![recall]).to_bytes()?)?;
    let answers = Answers::verify(&answer, b, |_, _| Some(world.b.keys.runs.public().clone()))?;
    assert_eq!(answers.answers[0].state, AnswerState::NotHeld);
    assert_eq!([world.b.holdings.head()?, world.c.holdings.head()?], before);
    world.meet()?;
    assert_eq!(world.at_c(one)?.0, "received");
    Ok(())
}
