//! Agreements that are looked at before they are signed: what would leave under them, and what then does.

use entente_tests::{Home, World, kept, until};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    path::Path,
};

type Outcome = Result<(), Box<dyn Error>>;

/// Everything that each record shows.
type Shown = BTreeMap<String, BTreeSet<String>>;

fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs-example").join(name).display().to_string()
}

/// Clauses that withhold, coarsen, ask for a condition, refer to others and give copies of photographs.
const CLAUSES: &str = r#"
[[clause]]
name = "cases-in-chad"
from = "a"
to = ["b"]
when = 'resource.place_country == "TD"'
onward = "never"
retention-days = 365
disclose.event = ["number", "eval", "etype", "recovered-month", "place-region", "place-country", "supersedes"]

[[clause]]
name = "items"
from = "a"
to = ["b"]
onward = "never"
retention-days = 365
disclose.item = ["number", "eval", "type", "make", "make-country", "event", "supersedes"]
"#;

fn names(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

/// What a simulation lists for its one partner.
fn listed(simulated: &Value) -> Shown {
    let party = &simulated["parties"][0];
    let listed: Shown = party["listed"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|record| (record["id"].as_str().unwrap_or_default().to_owned(), names(&record["fields"])))
        .collect();
    assert_eq!(party["leave"], listed.len(), "listed whole: {party}");
    listed
}

/// What a home holds of others, as it stands.
fn held(home: &Home) -> Shown {
    let current = home.received().into_iter().filter(|record| record["state"] != "withdrawn");
    current
        .map(|record| {
            let fields = record["fields"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
            (record["id"].as_str().unwrap_or_default().to_owned(), fields.collect())
        })
        .collect()
}

/// Waits until the other side holds exactly this.
fn comes_about(home: &Home, what: &str, expected: &Shown) {
    until(what, || held(home) == *expected);
}

/// Story: before anybody signs, a policy administrator sees what would leave. It is signed; exactly that leaves. Then
/// records are corrected, and a new version is compared with the one in force: exactly the difference follows.
#[test]
fn what_is_seen_before_signing_is_what_leaves() -> Outcome {
    let (_world, [mut a, mut b]) = World::of(91, ["a", "b"]);
    a.pair(&b);
    let report =
        a.json(&["import", &sample("evidence/field-mission-2026.csv"), "--attachments", &sample("evidence/photos")]);
    assert_eq!(report["bad_rows"], 6, "{report}");
    let draft = a.file("draft.toml", &a.agreement_text(&b, None, CLAUSES));
    let simulate = |a: &Home, more: &[&str]| {
        let args = ["agreement", "simulate", &draft, "--list", "100000"];
        a.json(&[args.as_slice(), more].concat())
    };

    // Drafts stay; as if they were released, they leave.
    let before = kept(&a);
    let drafts = simulate(&a, &[]);
    assert!(listed(&drafts).is_empty());
    assert_eq!(drafts["parties"][0]["withheld"][0]["code"], "gate-draft", "{drafts}");
    let supposed = listed(&simulate(&a, &["--as-released"]));
    assert!(supposed.len() > 200, "{}", supposed.len());
    assert_eq!(kept(&a), before, "looking changes nothing");

    a.pass_all();
    let simulated = simulate(&a, &[]);
    let expected = listed(&simulated);
    assert_eq!(expected, supposed, "released by people as was supposed");
    let party = &simulated["parties"][0];
    assert_eq!((&party["held_now"], &party["held_then"]), (&0.into(), &expected.len().into()));
    let fields: BTreeSet<&str> = expected.values().flatten().map(String::as_str).collect();
    assert!(fields.contains("event"), "references to what leaves too: {fields:?}");
    let withheld = party["withheld"].as_array().ok_or("withheld")?;
    let codes: BTreeSet<&str> = withheld.iter().filter_map(|reason| reason["code"].as_str()).collect();
    assert!(codes.contains("condition-not-met") && codes.contains("kind-not-covered"), "{codes:?}");
    let stay: u64 = withheld.iter().filter_map(|reason| reason["records"].as_u64()).sum();
    assert_eq!(simulated["records"], stay + expected.len() as u64, "each record leaves or stays");
    // A case outside Chad stays: its items leave, and do not name it.
    assert!(expected.values().any(|fields| fields.contains("type") && !fields.contains("event")));
    assert_eq!(party["reveals"].as_array().map(Vec::len), Some(0), "the condition's field is disclosed: {party}");

    let agreed = a.sign_text(&b, 1, &a.agreement_text(&b, None, CLAUSES));
    b.start();
    a.start();
    a.sync(&b);
    comes_about(&b, "exactly what was seen arrives", &expected);

    // Corrections are imported and released: the version in force is simulated by its id.
    let corrected = a.json(&["import", &sample("evidence/field-mission-2026-corrected.csv")]);
    assert!(corrected["amended"].as_u64() > Some(0), "{corrected}");
    a.pass_all();
    let in_force = |a: &Home| listed(&a.json(&["agreement", "simulate", &agreed.id, "--list", "100000"]));
    let expected = in_force(&a);
    a.sync(&b);
    comes_about(&b, "corrections arrive as the simulation has them", &expected);

    // A new version gives serials, withholds makes, and no case any more.
    let clauses = CLAUSES.replace("\"make\", ", "\"serial\", \"serial-state\", ").replace("\"TD\"", "\"XX\"");
    let next = a.file("next.toml", &a.agreement_text(&b, Some(&agreed), &clauses));
    let differs = a.json(&["agreement", "diff", &agreed.id, &next, "--list", "100000"]);
    let party = &differs["parties"][0];
    let mut after = expected.clone();
    for change in party["listed"].as_array().ok_or("listed")? {
        let id = change["id"].as_str().ok_or("id")?.to_owned();
        let (gains, loses) = (names(&change["gains"]), names(&change["loses"]));
        if change["change"] == "withdrawn" {
            assert_eq!(after.remove(&id), Some(loses), "{change}");
            continue;
        }
        let fields = after.entry(id).or_default();
        assert!(gains.is_disjoint(fields) && loses.is_subset(fields), "{change}");
        fields.retain(|field| !loses.contains(field));
        fields.extend(gains);
    }
    assert!(party["withdrawn"].as_u64() > Some(0) && party["changed"].as_u64() > Some(0), "{party}");
    assert_eq!(party["exposed"], 0);
    assert_eq!((&party["leave_old"], &party["leave_new"]), (&expected.len().into(), &after.len().into()));
    let gained = |field: &str| {
        let found = party["fields"].as_array().into_iter().flatten().find(|row| row["field"] == field);
        found.and_then(|row| row["gained"].as_u64())
    };
    assert!(gained("serial-state") > Some(0) && gained("make") == Some(0), "{party}");
    let _next = a.amend(&b, &agreed, &clauses);
    a.sync(&b);
    comes_about(&b, "exactly the difference follows", &after);
    assert_eq!(in_force(&a), after);

    // Suspended, nothing passes and nothing is taken back: what would leave is shown all the same, and that it waits.
    a.ok(&["agreement", "suspend", &agreed.id]);
    let suspended = a.json(&["agreement", "simulate", &agreed.id, "--list", "100000"]);
    assert_eq!((listed(&suspended), &suspended["parties"][0]["waits"]["code"]), (after.clone(), &"suspended".into()));
    assert_eq!(suspended["parties"][0]["held_now"], suspended["parties"][0]["held_then"], "{suspended}");
    a.ok(&["agreement", "resume", &agreed.id]);

    // People read it too.
    let told = String::from_utf8_lossy(&a.run(&["agreement", "simulate", &agreed.id]).stdout).into_owned();
    assert!(told.contains("To b") && told.contains("Would leave:") && told.contains("The first 20 of"), "{told}");
    let told = String::from_utf8_lossy(&a.run(&["agreement", "diff", &agreed.id, &draft]).stdout).into_owned();
    assert!(told.contains("records newly exposed") && told.contains("exposes"), "{told}");

    // A text without an id would be signed as another agreement, beside the one in force. That is said, with what to write
    // for it to be the next version; a text that says so is told nothing.
    let beside = a.file("beside.toml", &a.agreement_text(&b, None, &clauses).replace("a and b", "wider"));
    let differs = a.json(&["agreement", "diff", &agreed.id, &beside]);
    let newest = a.json(&["agreement", "show", &agreed.id]);
    let must = &differs["must_say"];
    assert_eq!((&must["beside"], &must["version"]), (&true.into(), &3.into()), "{must}");
    assert_eq!((&must["id"], &must["predecessor"]), (&newest["id"], &newest["digest"]), "{must}");
    assert_eq!(differs["new"]["agreement"], Value::Null, "an id that was drawn for this answer: {differs}");
    let told = String::from_utf8_lossy(&a.run(&["agreement", "diff", &agreed.id, &beside]).stdout).into_owned();
    assert!(told.contains("another agreement") && told.contains(&format!("  id = \"{}\"\n", agreed.id)), "{told}");
    let version =
        must["write"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
    let follows = std::fs::read_to_string(&beside)?.replace("version = 1", &version);
    let follows = a.file("follows.toml", &follows);
    assert_eq!(a.json(&["agreement", "diff", &agreed.id, &follows])["must_say"], Value::Null);
    let late = std::fs::read_to_string(&follows)?.replace("version = 3", "version = 4");
    let late = a.json(&["agreement", "diff", &agreed.id, &a.file("late.toml", &late)]);
    assert_eq!(late["must_say"]["beside"], false, "{late}");
    Ok(())
}

/// Story: what is to be looked at is no agreement, or none of ours.
#[test]
fn what_cannot_be_looked_at_is_named() {
    let (_world, [a, b]) = World::of(92, ["a", "b"]);
    a.pair(&b);
    let fault = a.refused(2, &["agreement", "simulate", &a.path("absent.toml")]);
    assert!(fault["message"].as_str().is_some_and(|why| why.contains("absent.toml")), "{fault}");
    let fault = a.refused(2, &["agreement", "simulate", "0123456789"]);
    assert!(fault["message"].as_str().is_some_and(|why| why.contains("agreement list")), "{fault}");
    let wrong = a.file("wrong.toml", &a.agreement_text(&b, None, &CLAUSES.replace("\"etype\"", "\"etyp\"")));
    let fault = a.refused(2, &["agreement", "simulate", &wrong]);
    assert!(fault["message"].as_str().is_some_and(|why| why.contains("etyp") && why.contains("wrong.toml")), "{fault}");
    // A picture, a folder, and an agreement that was cut on its way.
    let picture = sample("evidence/photos/IMG_0001.jpg");
    let cut = a.file("cut.signed", "-----BEGIN ENTENTE AGREEMENT-----\nAAAA");
    for (given, says) in [(picture.as_str(), "IMG_0001.jpg"), (&a.path("a"), "a`"), (&cut, "cut.signed")] {
        for args in [["agreement", "simulate", given].as_slice(), &["agreement", "diff", given, &wrong]] {
            let fault = a.refused(2, args);
            assert!(fault["message"].as_str().is_some_and(|why| why.contains(says)), "{args:?}: {fault}");
        }
    }
    let stranger = a.agreement_text(&b, None, CLAUSES).replace("\"b\"", "\"nobody\"");
    let fault = a.refused(2, &["agreement", "diff", &a.file("stranger.toml", &stranger), &wrong]);
    assert!(fault["message"].as_str().is_some_and(|why| why.contains("nobody")), "{fault}");
}

/// A clause and a kind, records that would leave, and fields that would.
type Clause = (&'static str, u64, u64);

/// What would leave, by clause and kind, under each template: from the field mission's
/// sample evidence, as if all of it were released.
const GOLDEN: [(&str, Option<&str>, &[Clause]); 4] = [
    ("panel", None, &[("weapons/item", 236, 2_803), ("weapons/event", 43, 301), ("photographs/attachment", 24, 166)]),
    ("maker", Some("HR"), &[("made-there/item", 19, 187)]),
    ("host", Some("td"), &[("cases-there/event", 12, 84)]),
    ("tracing", None, &[("ours/item", 236, 2_331)]),
];

/// Story: somebody who has never written an agreement begins with a template, looks at it, and signs it.
#[test]
fn a_template_is_drafted_looked_at_and_signed() -> Outcome {
    let (_world, [a, b]) = World::of(93, ["a", "b"]);
    a.pair(&b);
    a.ok(&["import", &sample("evidence/field-mission-2026.csv"), "--attachments", &sample("evidence/photos")]);
    let templates = a.json(&["agreement", "templates"]);
    let names: BTreeSet<&str> =
        templates.as_array().ok_or("templates")?.iter().filter_map(|t| t["id"].as_str()).collect();
    assert_eq!(names, GOLDEN.iter().map(|(name, ..)| *name).collect(), "each template has a simulation here");
    for (name, country, expected) in GOLDEN {
        let draft = a.path(&format!("{name}.toml"));
        let mut args = vec!["agreement", "new", name, "--with", "b", "-o", &draft];
        args.extend(country.iter().flat_map(|country| ["--country", country]));
        let written = a.json(&args);
        assert_eq!(written["file"], draft.as_str(), "{written}");
        let again = a.refused(2, &args);
        assert!(again["message"].as_str().is_some_and(|why| why.contains(&draft)), "{again}");
        let simulated = a.json(&["agreement", "simulate", &draft, "--as-released", "--list", "0"]);
        let clauses = simulated["parties"][0]["clauses"].as_array().cloned().unwrap_or_default();
        let fields = |clause: &Value| {
            clause["fields"].as_array().into_iter().flatten().filter_map(|field| field["records"].as_u64()).sum::<u64>()
        };
        let found: Vec<(&str, u64, u64)> = clauses
            .iter()
            .filter_map(|clause| Some((clause["id"].as_str()?, clause["records"].as_u64()?, fields(clause))))
            .collect();
        assert_eq!(found, expected, "{name}: {simulated}");
        assert_eq!(
            simulated["parties"][0]["reveals"].as_array().map(Vec::len),
            Some(0),
            "{name} tells of nothing else"
        );
    }
    // What it rests on, only people know: before they have written it, nothing is signed.
    let panel = a.path("panel.toml");
    let unready = a.refused(2, &["agreement", "sign", &panel, "--yes"]);
    assert!(
        unready["message"].as_str().is_some_and(|why| why.contains("panel.toml`: line 7, key `basis.text`")),
        "{unready}"
    );
    let text = std::fs::read_to_string(&panel)?.replace("(put its date here)", "of 3 March 2026");
    std::fs::write(&panel, text)?;
    a.ok(&["agreement", "sign", &panel, "--yes"]);
    let nowhere = a.refused(2, &["agreement", "new", "panel", "--with", "b", "-o", &a.path("no folder/x.toml")]);
    assert!(nowhere["message"].as_str().is_some_and(|why| why.contains("no folder/x.toml")), "{nowhere}");
    for (args, says) in [
        (["agreement", "new", "host", "--with", "b", "-o", &a.path("x.toml")].as_slice(), "--country TD"),
        (&["agreement", "new", "panel", "--with", "b", "--country", "TD", "-o", &a.path("x.toml")], "no country"),
        (&["agreement", "new", "nothing", "--with", "b", "-o", &a.path("x.toml")], "panel, maker, host, tracing"),
        (&["agreement", "new", "panel", "--with", "nobody", "-o", &a.path("x.toml")], "nobody"),
    ] {
        let fault = a.refused(2, args);
        assert!(fault["message"].as_str().is_some_and(|why| why.contains(says)), "{fault}");
        assert!(!Path::new(&a.path("x.toml")).exists());
    }
    Ok(())
}

/// Story: before an agreement is signed, its check says which of its clauses never decide, and why; once it is in force, a
/// property is proved of it, or a record that breaks it is shown. A stranger to the language is told what can be asked.
#[test]
fn what_never_leaves_is_proved_or_shown_to_leave() -> Outcome {
    let (_world, [a, b]) = World::of(93, ["a", "b"]);
    std::fs::create_dir(a.path("a/redlines"))?;
    let _ = a.file(
        "a/redlines/one.toml",
        "[[red-line]]\nname = \"no rifles\"\nkinds = [\"item\"]\nwhen = 'resource.type == \"rifle\"'\n",
    );
    let settings = a.folder().config();
    std::fs::write(&settings, format!("red-lines = \"redlines\"\n{}", std::fs::read_to_string(&settings)?))?;
    a.pair(&b);
    let clause = |name: &str, when: &str, fields: &str| {
        format!(
            "[[clause]]\nname = \"{name}\"\nfrom = \"a\"\nto = [\"b\"]\n{when}onward = \"never\"\nretention-days = 365\n\
             disclose.item = [\"number\", \"eval\", {fields}]\n"
        )
    };
    let clauses = [
        clause("rifles", "when = 'resource.type == \"rifle\"'\n", "\"serial\""),
        clause("chadian", "when = 'resource.make_country == \"QX\"'\n", "\"make-country\""),
        clause("all", "", "\"type\", \"make\""),
        clause("pistols", "when = 'resource.type == \"pistol\"'\n", "\"calibre\""),
    ]
    .concat();
    let draft = a.file("draft.toml", &a.agreement_text(&b, None, &clauses));
    let checked = a.json(&["agreement", "check", &draft]);
    let found: BTreeSet<(&str, &str)> = checked["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|finding| Some((finding["clause"].as_str()?, finding["code"].as_str()?)))
        .collect();
    let expected =
        [("rifles", "hidden-by-a-red-line"), ("chadian", "unknown-country"), ("pistols", "hidden-by-a-clause")];
    assert_eq!(found, BTreeSet::from(expected), "{checked}");
    let shown = String::from_utf8_lossy(&a.run(&["agreement", "check", &draft]).stdout).into_owned();
    assert!(shown.contains("no rifles") && shown.contains("a clause before it"), "{shown}");

    // Nothing is in force yet.
    let prove = |a: &Home, property: &str| -> Value {
        let output = a.run(&["--json", "agreement", "prove", property]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let holds = answer["answer"] == "proved" || answer["answer"] == "nothing-in-force";
        assert_eq!(output.status.code(), Some(if holds { 0 } else { 6 }), "{property}: {answer}");
        answer
    };
    // That holds because nothing could leave at all, and is not said as what a proof over clauses says.
    for property in ["never item.make to b", "never item"] {
        let emptily = prove(&a, property);
        assert_eq!(emptily["answer"], "nothing-in-force", "{emptily}");
        assert!(emptily["says"].as_str().is_some_and(|says| says.contains("no agreement is in force")), "{emptily}");
    }
    let agreed = a.sign_text(&b, 1, &a.agreement_text(&b, None, &clauses));
    for property in ["never event.documented-by", "never item.note to anyone", "never attachment.content to b"] {
        assert_eq!(prove(&a, property)["answer"], "proved", "{property}");
    }
    // B has not heard yet that it is in force.
    assert_eq!(prove(&b, "never item.make")["answer"], "nothing-in-force");
    let leaves = prove(&a, "never item.make to b");
    assert_eq!((leaves["answer"].as_str(), leaves["clause"].as_str()), (Some("no"), Some("all")), "{leaves}");
    assert_eq!(leaves["agreement"], agreed.id.as_str());
    let country = prove(&a, "never item.make-country");
    assert_eq!(country["example"]["make_country"], "QX", "{country}");
    // The red line keeps serials of rifles, and no clause gives others: tried, and not called a proof.
    let serial = prove(&a, "never item.serial");
    assert_eq!(serial["answer"], "not-found", "{serial}");
    assert!(serial["says"].as_str().is_some_and(|says| says.contains("no proof")), "{serial}");
    for wrong in ["always item.make", "never", "never item.colour", "never gun.make", "never item.make to nobody-here"]
    {
        let refused = a.refused(2, &["agreement", "prove", wrong]);
        assert!(
            refused["message"].as_str().is_some_and(|says| says.contains("never KIND.FIELD")),
            "{wrong}: {refused}"
        );
    }
    Ok(())
}
