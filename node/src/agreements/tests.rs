//! An agreement in force that this version of the program cannot apply, beside one that it can.

use super::*;
use crate::{
    call::Call,
    clock::{Clock, ManualClock},
    records::stored::encode,
    status,
    testkit::{self, ask},
};
use entente_protocol::{agreement::Agreement, id::Hash, time::UnixMillis};
use std::sync::Arc;

/// Puts an agreement into force as an older program would have left it in the store.
fn keep(node: &Node, signed: &SignedAgreement) {
    let id = signed.agreement().unwrap().id;
    let row = AgreementRow { current: Some(ByteBuf::from(signed.to_bytes().unwrap())), ..AgreementRow::default() };
    node.holdings.keyring().ensure_partition(Partition::Agreement(id)).unwrap();
    let mut txn = node.holdings.begin();
    txn.push(Partition::Node, Table::AgreementList, b"", id.as_bytes()).unwrap();
    txn.put(Partition::Node, Table::Agreement, id.as_bytes(), &encode("agreement", &row).unwrap()).unwrap();
    txn.commit().unwrap();
}

/// Story: somebody types a country that there is none of. It is refused before anybody signs a clause that covers nothing.
#[test]
fn a_template_takes_known_countries_only() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(ManualClock::at(UnixMillis(1_795_305_600_000)));
    let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
    testkit::pair(&a, &b)?;
    let refused = draft(&a, "maker", "b", Some("XQ")).err().ok_or("it is filled in")?.to_string();
    assert!(refused.contains("`XQ` is no country") && refused.contains("--country TD"), "{refused}");
    for given in ["TD", "td", "Chad"] {
        assert!(draft(&a, "maker", "b", Some(given))?["text"].as_str().is_some_and(|text| text.contains("\"TD\"")));
    }
    Ok(())
}

/// Story: two agreements with one partner are in force, and one of them pins a schema that this program does not have.
/// The node opens, sharing goes on under the other, and people are told which one is set aside and why.
#[test]
fn an_agreement_that_cannot_be_applied_is_set_aside_and_the_others_stand() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(ManualClock::at(UnixMillis(1_795_305_600_000)));
    let (a, b) = (testkit::node(folder.path(), "a", &clock)?, testkit::node(folder.path(), "b", &clock)?);
    testkit::pair(&a, &b)?;
    testkit::agree(folder.path(), &a, &b, &testkit::agreement("2036-12-31"))?;

    let good = a.rules().agreements.iter().next().and_then(|held| held.in_force.clone()).ok_or("none in force")?;
    let foreign = Agreement {
        id: AgreementId::from_bytes([7; 16]),
        schema: Hash::from_bytes([1; 32]),
        title: "Signed for another version".to_owned(),
        ..good.agreement.clone()
    };
    let mut signed = SignedAgreement::unsigned(&foreign)?;
    for node in [&b, &a] {
        signed.sign(node.keys.org, &node.keys.agreements, clock.now())?;
    }
    for node in [&a, &b] {
        keep(node, &signed);
        node.reload()?;
    }

    let listed = list(&a)?;
    let states: BTreeMap<&str, &str> = listed.iter().map(|v| (v.title.as_str(), v.state.as_str())).collect();
    assert_eq!(states, BTreeMap::from([("Every item", "in-force"), ("Signed for another version", "set-aside")]));
    let why = listed.iter().find_map(|v| v.set_aside.clone()).unwrap_or_default();
    assert!(why.contains("schema"), "{why}");
    let told = status::status(&a)?;
    let warned = told["warnings"].to_string();
    assert!(warned.contains("Signed for another version") && warned.contains("set aside"), "{warned}");

    testkit::release(folder.path(), &a, "A-1")?;
    testkit::exchange(&a, &b)?;
    assert_eq!(testkit::received(&b)?, ["A-1"]);
    let explained = ask(&a, &Call::Explain { record: "A-1".to_owned(), partner: "b".to_owned() })?;
    let codes: Vec<&str> =
        explained["agreements"].as_array().into_iter().flatten().filter_map(|e| e["code"].as_str()).collect();
    assert_eq!(codes, ["set-aside"], "{explained}");
    Ok(())
}
