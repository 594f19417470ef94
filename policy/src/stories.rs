//! Agreements and red lines as people write them: the examples of AGREEMENTS.md, errors, mutants.

use crate::{
    Action, AsideFault, CompileError, ConditionFault, Gate, Governed, Interval, PartnerState, PolicySet, Question,
    Reason, RedLine, ReviewState,
    check::Checked,
    generate::{agreement_id, governed, org},
    render, source,
};
use entente_protocol::{
    agreement::{Agreement, Standing},
    id::{Hash, LineId, Nonce, OrgId, RecordId},
    record::{HandlingFloor, Header, SlotSet, kind::Kind, schema_digest},
    time::UnixMillis,
    value::Value,
};
use std::collections::{BTreeMap, BTreeSet};

mod refusals;

const TEXT: &str = include_str!("../AGREEMENTS.md");

/// The fenced TOML of AGREEMENTS.md whose first line begins so.
fn examples(start: &str) -> Vec<&'static str> {
    TEXT.split("```toml\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .filter(|block| block.starts_with(start))
        .collect()
}

fn parse(text: &str) -> Result<Checked, source::SourceError> {
    source::parse(text, &source::Drafting { id: agreement_id(9), party: &|_| None })
}

fn shipped() -> Vec<Agreement> {
    examples("language").into_iter().map(|text| parse(text).unwrap().agreement).collect()
}

fn red_lines() -> Vec<RedLine> {
    RedLine::parse(examples("[[red-line]]")[0], &|_| None).unwrap()
}

#[test]
fn every_example_is_accepted_and_prints_what_it_says() {
    assert_eq!((examples("language").len(), examples("[[red-line]]").len()), (3, 1));
    for agreement in shipped() {
        let printed = render(&agreement);
        let again = parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}")).agreement;
        assert_eq!(again.to_bytes().unwrap(), agreement.to_bytes().unwrap());
        assert_eq!(Agreement::from_bytes(&agreement.to_bytes().unwrap()).unwrap(), agreement);
    }
    assert_eq!(red_lines().len(), 4);
}

/// Whoever signs reads fields by their names, also where the text named them together.
#[test]
fn fields_named_by_what_they_tell_are_printed_one_by_one() {
    let text = examples("language")[2];
    assert!(text.contains("\"@place\"") && text.contains("\"@serial\""), "{text}");
    let printed = render(&parse(text).unwrap().agreement);
    assert!(!printed.contains('@'), "{printed}");
    for line in [
        r#"disclose.item = ["number", "eval", "type", "make-country", "serial", "serial-prefix", "serial-state"]"#,
        r#"disclose.event = ["number", "eval", "etype", "recovered-month", "recovered-year", "place-point", "place-cell", "place-region", "place-country", "place-name"]"#,
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
}

/// What tells of persons, what is a file and what tells more than the one fact never comes by a class.
#[test]
fn no_class_of_fields_brings_persons_or_files() {
    let text = examples("language")[2];
    let head: String = text.lines().filter(|line| !line.starts_with("disclose.")).flat_map(|l| [l, "\n"]).collect();
    let mut taken = 0;
    for kind in Kind::ALL {
        for class in ["place", "time", "serial", "maker", "device"] {
            let Ok(checked) = parse(&format!("{head}disclose.{kind} = [\"@{class}\"]\n")) else { continue };
            taken += 1;
            for number in &checked.agreement.clauses[0].disclose[0].slots {
                let slot = kind.slot_number(*number).unwrap();
                assert!(!slot.personal && !slot.personal_of_persons, "{kind} @{class}: {}", slot.name);
                assert!(!["content", "note", "exif", "marks", "access"].contains(&slot.name), "{kind}: {}", slot.name);
            }
        }
    }
    assert!(taken >= 10, "{taken}");
}

#[test]
fn generated_agreements_print_what_they_say() {
    let mut dice = crate::generate::Dice(5);
    for id in 0..60 {
        let agreement = crate::generate::agreement(&mut dice, id);
        let again = parse(&render(&agreement)).unwrap().agreement;
        assert_eq!(again.to_bytes().unwrap(), agreement.to_bytes().unwrap());
    }
}

#[test]
fn the_reasons_of_the_text_are_the_reasons_of_the_code() {
    let rows: String = Reason::ALL.iter().map(|r| format!("| `{}` | {} |\n", r.code(), r.sentence())).collect();
    assert!(TEXT.contains(&format!("| --- | --- |\n{rows}\n")), "the table should read:\n{rows}");
}

#[test]
fn what_a_condition_reveals_is_named() {
    let checked = parse(examples("language")[0]).unwrap();
    let named: Vec<(&str, &str)> = checked.reveals.iter().map(|r| (r.clause.as_str(), r.field)).collect();
    assert_eq!(named, [("made-in-the-state", "serial-state")]);
}

#[test]
fn a_later_clause_reveals_what_those_before_it_read() {
    let second = "[[clause]]\nname = \"other-weapons\"\nfrom = \"car\"\nto = [\"state\"]\nonward = \"never\"\n\
                  retention-days = 365\ndisclose.item = [\"number\", \"make-country\"]\n\n[[clause]]\nname = \"traces\"";
    let text = examples("language")[0].replacen("[[clause]]\nname = \"traces\"", second, 1);
    let named = |text: &str| {
        let checked = parse(text).unwrap();
        checked.reveals.iter().map(|r| (r.clause.clone(), r.field)).collect::<Vec<_>>()
    };
    let own = ("made-in-the-state".to_owned(), "serial-state");
    assert_eq!(named(&text), [own.clone(), ("other-weapons".to_owned(), "serial-state")]);
    // To another receiver, or of another kind, it says nothing.
    let elsewhere = text.replacen(
        "from = \"car\"\nto = [\"state\"]\nonward = \"never\"",
        "from = \"car\"\nto = [\"panel\"]\nonward = \"never\"",
        1,
    );
    assert_ne!(elsewhere, text);
    assert_eq!(named(&elsewhere), [own]);
    // Personal data that the first discloses and reads, the second would give away unnamed.
    let personal = text
        .replacen("resource.serial_state == \"ok\"", "resource.made_by == \"A\"", 1)
        .replacen(
            "disclose.item = [\"number\", \"eval\", \"type\", \"make\", \"make-country\", \"model\", \"serial\", \"serial-prefix\"]",
            "disclose.item = [\"number\", \"made-by\", \"make-country\"]\n\
             personal = [{ kind = \"item\", slot = \"made-by\", purpose = \"tracing\", retention-days = 30 }]",
            1,
        );
    let refused = parse(&personal).unwrap_err();
    assert!(refused.to_string().contains("would reveal `made-by`, which is personal data"), "{refused}");
    let alone = personal.replacen(second, "[[clause]]\nname = \"traces\"", 1);
    assert!(parse(&alone).is_ok());
}

/// The first example's parties, with one clause for parties.
fn about_parties(fields: &str, personal: &str) -> Governed {
    let text = examples("language")[0];
    let head = text.split("[[clause]]").next().unwrap().split("\n# Weapons").next().unwrap();
    let clause = format!(
        "[[clause]]\nname = \"parties\"\nfrom = \"car\"\nto = [\"panel\"]\nonward = \"never\"\nretention-days = 30\n\
         carries = [\"place\"]\ndisclose.party = [{fields}]\npersonal = [{personal}]\n"
    );
    governed(parse(&format!("{head}\n{clause}")).unwrap().agreement, Standing::Active)
}

#[test]
fn a_persons_name_is_personal_data_and_a_companys_is_not() {
    let party = |ptype: &str| {
        let pairs = |t: &str| Value::Array(vec![Value::Array(vec![Value::text("en"), Value::text(t)])]);
        held(
            0x11,
            Kind::Party,
            &[
                ("ptype", Value::text(ptype)),
                ("name", Value::text("N")),
                ("country", Value::text("BE")),
                ("names", pairs("N")),
                ("aliases", pairs("A")),
                ("addresses", Value::Array(vec![Value::text("street")])),
                ("website", Value::text("n.example")),
            ],
        )
    };
    let fields = "\"ptype\", \"name\", \"country\", \"names\", \"aliases\", \"addresses\", \"website\"";
    let plain = about_parties(fields, "");
    let goes = |agreement: &Governed, party: &Held| ask(party, 0x22, agreement, |q| set(agreement, &[]).explain(q));
    let company = goes(&plain, &party("company"));
    assert_eq!(company.disclosed.len(), 7);
    let person = goes(&plain, &party("person"));
    assert_eq!(person.disclosed, ["ptype", "country"]);
    assert!(person.fields_withheld.iter().all(|f| f.reason == Reason::SlotPersonal));
    // Named with purpose and retention, it goes.
    let entry = "{ kind = \"party\", slot = \"name\", purpose = \"sanctions\", retention-days = 30 }";
    assert_eq!(goes(&about_parties(fields, entry), &party("person")).disclosed, ["ptype", "name", "country"]);
    // A party that does not say what it is counts as a person.
    let mut unsaid = party("company");
    unsaid.values.remove(&Kind::Party.slot("ptype").unwrap().number);
    assert_eq!(goes(&plain, &unsaid).disclosed, ["country"]);
}

#[test]
fn a_reply_to_a_contested_flag_goes_with_its_target() {
    let text = examples("language")[0];
    let head = text.split("\n# Weapons").next().unwrap();
    let clause = "[[clause]]\nname = \"flags\"\nfrom = \"car\"\nto = [\"panel\"]\nonward = \"never\"\nretention-days = 30\n\
                  disclose.red-flag = [\"code\", \"contested\"]\n";
    let agreement = governed(parse(&format!("{head}\n{clause}")).unwrap().agreement, Standing::Active);
    let reply = Value::Array(vec![Value::Bytes(vec![0x11; 32]), Value::Bytes(vec![2; 16])]);
    let contested = Value::map([("contested", Value::Bool(true)), ("reply", reply)]);
    let mut flag = held(0x11, Kind::RedFlag, &[("code", Value::text("P1")), ("contested", contested)]);
    let goes = |flag: &Held| ask(flag, 0x22, &agreement, |q| set(&agreement, &[]).explain(q)).disclosed;
    assert_eq!(goes(&flag), ["code"]);
    let slot = Kind::RedFlag.slot("contested").unwrap();
    flag.referable = SlotSet::EMPTY.with(slot.number);
    assert_eq!(goes(&flag), ["code", "contested"]);
    flag.referable = SlotSet::EMPTY;
    flag.values.insert(slot.number, Value::map([("contested", Value::Bool(true))]));
    assert_eq!(goes(&flag), ["code", "contested"], "a value without a reference waits for nothing");
}

#[test]
fn an_agreement_of_another_schema_is_refused_by_text_and_set_aside_by_the_set() {
    let other = Hash::from_bytes([1; 32]);
    let text = examples("language")[0].replacen("version = 1", &format!("version = 1\nschema = \"{other}\""), 1);
    assert_eq!(parse(&text).unwrap_err().key, "schema");
    assert_ne!(schema_digest(), other);
    // The other agreement decides as before; everything under this one stays.
    let mut foreign = Agreement { schema: other, ..shipped().remove(0) };
    foreign.id = agreement_id(7);
    let (foreign, good) = (governed(foreign, Standing::Active), first());
    let set = PolicySet::new(org(0x11), vec![foreign.clone(), good.clone()], &[], partners(), &[]).unwrap();
    let rifle = weapon("BE", "ok");
    assert!(ask(&rifle, 0x22, &good, |q| set.decide(q)).is_ok());
    let under =
        |id| ask(&rifle, 0x22, &good, |q| set.decide(&Question { agreement: id, ..*q }).err().map(|w| w.reason));
    assert_eq!(under(agreement_id(7)), Some(Reason::SetAside));
    assert!(matches!(set.aside(agreement_id(7)), Some(AsideFault::Check(fault)) if fault.key == "schema"));
    assert_eq!(set.aside(good.in_force.agreement.id), None);
    let without = PolicySet::new(org(0x11), vec![good], &[], partners(), &[]).unwrap();
    assert_ne!(set.version(), without.version());
    assert_eq!(set.local_version(), without.local_version());
}

/// A record in the hands of its originator, ready to go.
struct Held {
    header: Header,
    values: BTreeMap<u8, Value>,
    referable: SlotSet,
    gate: Gate,
}

fn held(originator: u8, kind: Kind, fields: &[(&str, Value)]) -> Held {
    let (line, nonce) = (LineId::from_bytes([1; 16]), Nonce::from_bytes([1; 16]));
    let slot = |name: &str| kind.slot(name).unwrap().number;
    Held {
        header: Header { kind, line, floor: HandlingFloor::default(), nonce, originator: org(originator) },
        values: fields.iter().map(|(name, value)| (slot(name), value.clone())).collect(),
        referable: SlotSet::EMPTY,
        gate: Gate { review: ReviewState::Verified, required: ReviewState::Reviewed, released: true },
    }
}

fn weapon(country: &str, state: &str) -> Held {
    let reference = Value::Array(vec![Value::Bytes(vec![1; 32]), Value::Bytes(vec![2; 16])]);
    let text = |t: &str| Value::text(t);
    held(
        0x11,
        Kind::Item,
        &[
            ("number", text("CAR-1")),
            ("type", text("rifle")),
            ("make-country", text(country)),
            ("serial-state", text(state)),
            ("made-by", text("somebody")),
            ("event", reference),
        ],
    )
}

fn ask<T>(held: &Held, partner: u8, agreement: &Governed, with: impl FnOnce(&Question<'_>) -> T) -> T {
    let early = UnixMillis::from_date("2026-06-01").unwrap();
    with(&Question {
        record: RecordId::from_bytes([1; 32]),
        header: &held.header,
        values: &|slot| held.values.get(&slot).cloned(),
        present: held.values.keys().copied().collect(),
        gate: held.gate,
        referable: held.referable,
        onward: None,
        partner: org(partner),
        agreement: agreement.in_force.agreement.id,
        now: Interval { early, late: early.plus(1_000), confirmed: true },
    })
}

fn first() -> Governed {
    governed(shipped().remove(0), Standing::Active)
}

fn partners() -> BTreeMap<OrgId, PartnerState> {
    [0x11, 0x22, 0x33].map(|n| (org(n), PartnerState::Active)).into()
}

fn set(agreement: &Governed, red_lines: &[RedLine]) -> PolicySet {
    PolicySet::new(org(0x11), vec![agreement.clone()], red_lines, partners(), &[]).unwrap()
}

#[test]
fn an_explanation_names_clause_fields_and_why_others_stay() {
    let agreement = first();
    let set = set(&agreement, &[]);
    let mut rifle = weapon("BE", "ok");
    let told = ask(&rifle, 0x22, &agreement, |q| set.explain(q));
    assert_eq!(told.clause.as_deref(), Some("items-to-panel"));
    assert_eq!(told.disclosed, ["number", "type", "make-country", "serial-state"]);
    let stays: Vec<(&str, Reason)> = told.fields_withheld.iter().map(|f| (f.field, f.reason)).collect();
    assert_eq!(stays, [("made-by", Reason::SlotPersonal), ("event", Reason::SlotReference)]);
    rifle.referable = SlotSet::EMPTY.with(Kind::Item.slot("event").unwrap().number);
    assert!(ask(&rifle, 0x22, &agreement, |q| set.explain(q)).disclosed.contains(&"event"));

    let told = ask(&rifle, 0x33, &agreement, |q| set.explain(q));
    assert_eq!(
        (told.clause.as_deref(), told.disclosed.as_slice()),
        (Some("made-in-the-state"), ["number", "type", "make-country"].as_slice())
    );
    let reason = |held: &Held| ask(held, 0x33, &agreement, |q| set.explain(q)).withheld.map(|w| w.reason);
    assert_eq!(reason(&weapon("RU", "ok")), Some(Reason::ConditionNotMet));
    let mut unmarked = weapon("BE", "ok");
    unmarked.values.remove(&Kind::Item.slot("make-country").unwrap().number);
    assert_eq!(reason(&unmarked), Some(Reason::FieldAbsent));
}

#[test]
fn now_is_measured_by_its_stricter_end() {
    let agreement = first();
    let set = set(&agreement, &[]);
    let rifle = weapon("BE", "ok");
    let body = &agreement.in_force.agreement;
    assert_eq!((body.from.date(), body.until.date()), ("2026-01-01".to_owned(), "2029-01-01".to_owned()));
    let at = |early: UnixMillis, late: UnixMillis| {
        let now = Interval { early, late, confirmed: true };
        ask(&rifle, 0x22, &agreement, |q| set.decide(&Question { now, ..*q }).err().map(|w| w.reason))
    };
    assert_eq!(at(body.from.minus(1), body.from.plus(1)), Some(Reason::NotInForceYet));
    assert_eq!(at(body.from, body.from.plus(1)), None);
    assert_eq!(at(body.until.minus(2), body.until.minus(1)), None);
    assert_eq!(at(body.until.minus(1), body.until), Some(Reason::Expired));
    assert_eq!(at(body.until.minus(1), body.until.minus(2)), Some(Reason::ClockTooWide));
}

#[test]
fn an_alert_clause_releases_nothing() {
    let mut agreement = shipped().remove(1);
    agreement.clauses.retain(|clause| clause.name == "alerts");
    let agreement = governed(agreement, Standing::Active);
    let partners = BTreeMap::from([(org(0x44), PartnerState::Active)]);
    let set = PolicySet::new(org(0x11), vec![agreement.clone()], &[], partners, &[]).unwrap();
    let flag = held(0x11, Kind::RedFlag, &[("severity", Value::Int(3)), ("code", Value::text("x"))]);
    let answer = ask(&flag, 0x44, &agreement, |q| set.decide(q));
    assert_eq!(answer.err().map(|w| w.reason), Some(Reason::KindNotCovered));
}

#[test]
fn partners_see_only_agreements_that_they_are_party_to() {
    let (one, mut two) = (first(), governed(shipped().remove(1), Standing::Suspended));
    two.in_force.agreement.id = agreement_id(7);
    let set = PolicySet::new(org(0x11), vec![one.clone(), two], &[], partners(), &[]).unwrap();
    let seen = |n| set.agreements_with(org(n)).map(|(id, _, standing)| (id, standing)).collect::<Vec<_>>();
    assert_eq!(seen(0x22), [(agreement_id(9), Standing::Active)]);
    assert_eq!(seen(0x44), [(agreement_id(7), Standing::Suspended)]);
    assert_eq!(seen(0x55), []);
    let twice = PolicySet::new(org(0x11), vec![one.clone(), one], &[], partners(), &[]);
    assert!(matches!(twice, Err(CompileError::TwoVersions { .. })));
}

#[test]
fn whatever_changes_a_decision_changes_the_version() {
    let base = || (first(), red_lines(), partners(), vec!["X".to_owned()]);
    let version = |(agreement, lines, partners, classes): (Governed, Vec<RedLine>, _, Vec<String>)| {
        PolicySet::new(org(0x11), vec![agreement], &lines, partners, &classes).unwrap().version()
    };
    let mut seen = BTreeSet::from([version(base())]);
    assert!(!seen.insert(version(base())));
    let mut standing = base();
    standing.0.standing = Standing::Suspended;
    let mut partner = base();
    partner.2.insert(org(0x22), PartnerState::Suspended);
    let mut fewer = base();
    fewer.1.pop();
    let mut condition = base();
    condition.1[0] = RedLine::new("no natural persons", Action::Release, &[Kind::Party], &[], Some("true")).unwrap();
    let mut class = base();
    class.3.push("Y".to_owned());
    for changed in [standing, partner, fewer, condition, class] {
        assert!(seen.insert(version(changed)));
    }
}

#[test]
fn red_lines_hold_whatever_a_clause_permits() {
    let agreement = first();
    let set = set(&agreement, &red_lines());
    let answer = |held: &Held, partner| ask(held, partner, &agreement, |q| set.decide(q)).err();
    assert_eq!(answer(&weapon("BE", "ok"), 0x22), None);
    let obliterated = answer(&weapon("BE", "OBL"), 0x22).unwrap();
    assert_eq!(
        (obliterated.reason, obliterated.red_line.as_deref()),
        (Reason::RedLine, Some("no obliterated serials"))
    );
    // A field that is missing makes the line hold.
    let mut unread = weapon("BE", "ok");
    unread.values.remove(&Kind::Item.slot("serial-state").unwrap().number);
    assert_eq!(answer(&unread, 0x22).map(|w| w.reason), Some(Reason::RedLine));
    // A line towards one partner leaves the others alone.
    let mut classified = weapon("BE", "ok");
    classified.header.floor.class = Some("UN:CONFIDENTIAL".to_owned());
    assert_eq!(answer(&classified, 0x22), None);
    assert_eq!(answer(&classified, 0x33).map(|w| w.reason), Some(Reason::RedLine));
}

/// Other gates built on Cedar let everything through when a forbid had a type error at run time: the
/// engine skips a policy that errors, and the permit beside it wins. Here a forbid with a type error
/// is no red line at all, and one that errors while it is evaluated withholds.
#[test]
fn a_forbid_that_errors_withholds() {
    let agreement = first();
    let mut mutants = 0;
    for line in red_lines().iter().filter(|line| line.action == Action::Release) {
        let when = line.when.as_deref().unwrap();
        // Over a field that every kind has, so that the mutant meets a record which would otherwise go.
        let overflow = format!("9223372036854775807 + 1 > 0 || ({when})").replace("resource.ptype", "resource.number");
        let kinds = if line.kinds.contains(&Kind::Item) { line.kinds.clone() } else { vec![Kind::Party, Kind::Item] };
        let mutant = RedLine::new(&line.name, Action::Release, &kinds, &[], Some(&overflow)).unwrap();
        let set = set(&agreement, &[mutant]);
        let withheld = ask(&weapon("BE", "ok"), 0x22, &agreement, |q| set.decide(q)).unwrap_err();
        assert_eq!(
            (withheld.reason, withheld.red_line.as_deref()),
            (Reason::RedLineError, Some(line.name())),
            "{when}"
        );
        mutants += 1;
        let broken = when.replace("==", "in").replace("!=", "in");
        let refused = RedLine::new(&line.name, Action::Release, &line.kinds, &[], Some(&broken));
        assert!(matches!(refused, Err(ConditionFault::Invalid { .. } | ConditionFault::Syntax(_))), "{broken}");
    }
    assert_eq!(mutants, 3);
}

#[test]
fn red_lines_that_are_wrong_name_line_and_key() {
    let error = |text: &str| RedLine::parse(text, &|_| None).unwrap_err().to_string();
    let head = "[[red-line]]\nname = \"a\"\n";
    assert!(error(&format!("{head}kind = []")).starts_with("line 3, key `red-line[1].kind`: unknown key"));
    assert!(error(&format!("{head}kinds = [\"tank\"]")).contains("line 3, key `red-line[1].kinds[1]`"));
    assert!(error(&format!("{head}to = [\"car\"]")).contains("`car` is no partner"));
    assert!(error(&format!("{head}action = \"keep\"")).contains("unknown action"));
    assert!(
        error(&format!("{head}kinds = [\"item\"]\nwhen = 'resource.x == 1'"))
            .starts_with("line 4, key `red-line[1].when`")
    );
    assert!(error(&format!("{head}{head}")).contains("stands twice"));
    assert!(error("[red-line]\nname = 'a'").contains("write a list"));
}
