//! Persons with the real program: each with a passphrase of their own, beside a node that runs and one that does not.

use entente_tests::{Home, persons_passphrase};
use serde_json::Value;
use std::{error::Error, fs};

type Outcome = Result<(), Box<dyn Error>>;

const ROWS: &str = "number,case,date,type,make,model,calibre,serial,marks,year,country_of_make,place,country,region,lat,lon,\
    custody,recovered_from,collector,condition,notes,photos\n\
    N-1,C-1,2026-02-03,pistol,Works,M1,9x19,SN 1,,1990,Croatia,Here,Chad,Lac,13.4,14.6,Court,cache,X,serviceable,,\n";

/// Story: an office of one grows. Its administrator adds two colleagues; one brings a find in, and may not review it; the
/// other reviews it and lets it go. It goes to a partner, and its history says who did what, without a name leaving.
#[test]
fn persons_pass_a_record_and_its_history_names_them() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (mut a, mut b) = (Home::init(folder.path(), "a"), Home::init(folder.path(), "b"));
    a.pair(&b);
    let _ = a.agree(
        &b,
        &entente_tests::items_clause(&["number", "eval", "type", "serial", "serial-prefix", "serial-state"]),
    );
    let [osei, diallo, costa] = ["osei", "diallo", "costa"].map(|name| persons_passphrase(folder.path(), name));
    let trial = a.json(&["user", "add", "Osei", "--role", "administrator", "--dry-run"]);
    assert_eq!((&trial["dry_run"], a.json(&["user", "list"])), (&Value::Bool(true), serde_json::json!([])));
    let _ = a.refused(2, &["user", "add", "Diallo", "--role", "collector", "--new-passphrase-file", &diallo]);
    assert_eq!(fs::read_dir(a.folder().users())?.count(), 0, "the key of somebody who was not added stays");
    // Where there are no persons nothing is done in anybody's name.
    assert_eq!(a.refused(2, &["--user", "Osei", "search"])["code"], "no-user");
    a.ok(&["user", "add", "Osei", "--role", "administrator", "--new-passphrase-file", &osei]);
    let as_osei = ["--user", "Osei", "--user-passphrase-file", &osei];
    let with =
        |who: &[&str; 4], args: &[&str]| -> Vec<String> { who.iter().chain(args).map(|s| (*s).to_owned()).collect() };
    let ok = |home: &Home, who: &[&str; 4], args: &[&str]| {
        let all = with(who, args);
        home.json(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refused = |home: &Home, who: &[&str; 4], args: &[&str]| {
        let all = with(who, args);
        home.refused(2, &all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    ok(
        &a,
        &as_osei,
        &["user", "add", "Diallo", "--role", "collector", "--role", "reviewer", "--new-passphrase-file", &diallo],
    );
    ok(&a, &as_osei, &["user", "add", "Costa", "--role", "verifier", "--new-passphrase-file", &costa]);
    let (as_diallo, as_costa) = (
        ["--user", "Diallo", "--user-passphrase-file", &diallo],
        ["--user", "Costa", "--user-passphrase-file", &costa],
    );

    // From here on over the socket of a running node, which holds none of these keys.
    a.start();
    b.start();
    let table = a.file("find.csv", ROWS);
    assert_eq!(a.refused(2, &["import", &table])["code"], "needs-user");
    ok(&a, &as_diallo, &["import", &table]);
    let four = refused(&a, &as_diallo, &["review", "N-1", "--state", "reviewed"]);
    assert_eq!(four["code"], "four-eyes", "{four}");
    // With another's name and one's own passphrase.
    let mixed = ["--user", "Costa", "--user-passphrase-file", &diallo];
    let all = with(&mixed, &["review", "N-1", "--state", "verified"]);
    assert_eq!(a.refused(3, &all.iter().map(String::as_str).collect::<Vec<_>>())["code"], "user-key");
    assert_eq!(ok(&a, &as_costa, &["review", "N-1", "--state", "verified"])["changed"], 1);
    assert_eq!(ok(&a, &as_costa, &["release", "N-1"])["changed"], 1);
    let _ = a.json(&["sync", "b"]);

    let history = ok(&a, &as_costa, &["record", "history", "N-1"]);
    let steps: Vec<String> = history["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let holds = if step["verified"] == true { " holds" } else { "" };
            format!("{} {}{holds}", text(&step["what"]), text(step["person"].get("name").unwrap_or(&step["who"])))
        })
        .collect();
    let expected = [
        "collected own",
        "brought in Diallo holds",
        "attested own holds",
        "verified Costa holds",
        "released for sharing Costa holds",
        "released own holds",
        "received b holds",
    ];
    assert_eq!(
        steps.iter().filter(|step| !step.starts_with("collected")).collect::<Vec<_>>(),
        expected[1..].iter().collect::<Vec<_>>(),
        "{history}"
    );
    assert!(steps.iter().any(|step| step == expected[0]), "{steps:?}");
    assert_eq!((&history["eyes"], &history["not_verified"]), (&Value::from("two"), &Value::from(0)));

    // The other side knows what was signed by the organisation, and no person of it.
    let there = b.json(&["record", "history", "N-1"]);
    let whats: Vec<&str> = there["steps"].as_array().into_iter().flatten().filter_map(|s| s["what"].as_str()).collect();
    assert_eq!(
        whats.iter().filter(|what| **what != "collected").collect::<Vec<_>>(),
        [&"attested", &"released", &"received"],
        "{there}"
    );
    assert_eq!(there["not_verified"], 0);
    for name in ["Diallo", "Costa", "Osei"] {
        assert!(!there.to_string().contains(name) && !b.json(&["record", "show", "N-1"]).to_string().contains(name));
    }
    assert!(a.json(&["status"])["eyes"] == "two");

    // Another passphrase, and a colleague who leaves.
    let new = persons_passphrase(folder.path(), "another");
    ok(&a, &as_costa, &["user", "passphrase", "--new-passphrase-file", &new]);
    let all = with(&as_costa, &["search"]);
    let _ = a.refused(3, &all.iter().map(String::as_str).collect::<Vec<_>>());
    let as_costa = ["--user", "Costa", "--user-passphrase-file", &new];
    ok(&a, &as_costa, &["search"]);
    ok(&a, &as_osei, &["user", "disable", "Costa", "--yes"]);
    assert_eq!(refused(&a, &as_costa, &["search"])["code"], "user-ended");
    let listed = ok(&a, &as_osei, &["user", "list"]);
    assert_eq!(listed[2]["state"], "disabled", "{listed}");
    a.stop();
    b.stop();
    let found = ok(&a, &as_osei, &["check"]);
    assert!(found.as_array().is_some_and(|parts| parts.iter().all(|part| part["ok"] == true)), "{found}");
    Ok(())
}
