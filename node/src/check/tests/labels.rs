//! What each row of a store is: the words of which some stand in every finding about it.

use super::*;
use crate::{
    clock::mark,
    custody, journal,
    node::{CHANGES, OWN_RULES},
    recall::{self, AskedRow, HolderRow, hold, retention},
    receive::RunInRow,
    records::{
        gate::RELEASE_LOG,
        index,
        stored::{OwnRow, ReceivedRow, decode, record_in_feed},
    },
    room,
    share::{
        feeds::{self, SentRun},
        files::{self, FileRow},
        wishes,
    },
    store::{check::Audit, open::STORE_ID},
};
use entente_protocol::{attachment::Content, feed::FeedKey, id::RecordId, record::kind::Kind, value::Value};

/// Words that stand together in a finding.
pub type Words = Vec<String>;

pub struct Labels<'a> {
    audit: Audit,
    node: &'a Node,
    /// By row: each of these is enough.
    pub rows: BTreeMap<Vec<u8>, Vec<Words>>,
}

fn words<const N: usize>(all: [&dyn ToString; N]) -> Words {
    all.iter().map(|word| word.to_string()).collect()
}

type Scope<'a> = (Partition, Table, &'a [u8]);

impl<'a> Labels<'a> {
    pub fn of(node: &'a Node) -> Fallible<Self> {
        let mut labels = Self { audit: node.holdings.audit(), node, rows: BTreeMap::new() };
        labels.agreed()?;
        labels.own()?;
        labels.recalls()?;
        for agreement in node.partitions() {
            labels.shared(Partition::Agreement(agreement), agreement)?;
        }
        Ok(labels)
    }
    fn add(&mut self, row: Vec<u8>, with: Words) {
        self.rows.entry(row).or_default().push(with);
    }
    fn point(&mut self, (partition, table, key): Scope<'_>, with: Words) -> Fallible {
        let row = self.audit.point_row(partition, table, key)?;
        self.add(row, with);
        Ok(())
    }
    /// Every item of a list, and its counter.
    fn list(&mut self, at: Scope<'_>, what: &dyn Fn(u64, &[u8]) -> Vec<Words>, list: Words) -> Fallible {
        let (partition, table, scope) = at;
        let [items, counter] = self.audit.list_rows(partition, table, scope)?;
        for (n, content) in self.audit.items(partition, table, scope, None)? {
            for words in what(n, &content?) {
                self.add(layout::item(&items, n), words);
            }
        }
        self.add(counter, list);
        Ok(())
    }
    fn indexed(&mut self, partition: Partition, (field, key): (&str, &[u8]), place: u64, id: RecordId) -> Fallible {
        for n in 0..20 {
            if self.audit.nth(partition, field, key, n)? == Some(place) {
                let row = self.audit.nth_row(partition, field, key, n)?;
                self.add(row, words([&id]));
            }
        }
        Ok(())
    }
    fn found(
        &mut self,
        partition: Partition,
        (place, id, kind): (u64, RecordId, Kind),
        fields: Vec<(u8, Value)>,
    ) -> Fallible {
        self.indexed(partition, (index::ID, id.as_bytes()), place, id)?;
        for (number, value) in fields {
            let Some(slot) = kind.slot_number(number).filter(|slot| index::indexed(slot)) else { continue };
            for term in index::terms(kind, slot, &value) {
                self.indexed(partition, (term.field, &term.key), place, id)?;
            }
        }
        Ok(())
    }
    fn agreed(&mut self) -> Fallible {
        let at = Partition::Node;
        let numbered = |what: &'static str| move |n: u64, _: &[u8]| vec![words([&format!("{what} {n}")])];
        self.list((at, Table::Journal, b""), &numbered("event"), words([&"event: counter"]))?;
        for (n, event) in self.node.holdings.journal(None, 10_000)? {
            let said = words([&format!("event {n}")]);
            for partition in self.audit.partitions() {
                self.point((partition, Table::JournalPart, &n.to_be_bytes()), said.clone())?;
            }
            if event.is_signed() {
                let row = self.audit.nth_row(at, journal::LOGGED, event.logged().as_bytes(), 0)?;
                self.add(row, said);
            }
        }
        for (key, scopes) in custody::audit::rows(self.node)? {
            self.point((at, Table::Log, &key), words([&"log"]))?;
            for scope in scopes.into_iter().chain(custody::audit::cosigned(self.node)?) {
                self.list((at, Table::Log, &scope), &|_, _| vec![words([&"log"])], words([&"log"]))?;
            }
        }
        for (org, store) in custody::audit::known(self.node)? {
            let said = words([&"log of"]);
            for key in custody::audit::keys(org, store) {
                self.point((at, Table::Log, &key), said.clone())?;
            }
            let owed = custody::owed::scope(org, store);
            self.list((at, Table::Owed, &owed), &|_, _| vec![words([&"log of"])], said)?;
        }
        self.list((at, Table::PartnerList, b""), &numbered("partner"), words([&"partner: counter"]))?;
        self.list((at, Table::AgreementList, b""), &numbered("agreement"), words([&"agreement: counter"]))?;
        for (key, what) in [
            (mark::KEY, "the marks of time"),
            (CHANGES, "the count of changes"),
            (OWN_RULES, "own rules"),
            (STORE_ID, "`ledger` is missing"),
        ] {
            self.point((at, Table::Meta, key), words([&what]))?;
        }
        let (book, node) = (self.node.book(), self.node);
        for (partner, _) in book.iter() {
            self.point((at, Table::Meta, &room::key(*partner)), words([partner]))?;
            self.point((at, Table::Partner, partner.as_bytes()), words([partner]))?;
            let card = format!("card of partner {partner}");
            let scope = partner.as_bytes().as_slice();
            self.list((at, Table::Card, scope), &|n, _| vec![words([&card, &n])], words([&card, &"counter"]))?;
        }
        for held in node.rules().agreements.iter() {
            let id = held.id;
            self.point((at, Table::Agreement, id.as_bytes()), words([&id]))?;
            let version = format!("version of agreement {id}");
            let scope = id.as_bytes().as_slice();
            let counter = words([&version, &"counter"]);
            self.list((at, Table::AgreementVersion, scope), &|n, _| vec![words([&version, &n])], counter)?;
        }
        Ok(())
    }
    fn own(&mut self) -> Fallible {
        let at = Partition::Own;
        let own = |n: u64, content: &[u8]| {
            let record = decode::<OwnRow>("record", content).ok().and_then(|row| row.record().ok());
            vec![words([&format!("own record {n}")]), words([&record.map(|r| r.id().to_string()).unwrap_or_default()])]
        };
        self.list((at, Table::Record, b""), &own, words([&"own record: counter"]))?;
        let batch = |n: u64, _: &[u8]| vec![words([&format!("batch {n}")])];
        self.list((at, Table::Batch, b""), &batch, words([&"batch: counter"]))?;
        let event = |n: u64, _: &[u8]| vec![words([&format!("review or release {n}")]), words([&format!("event {n}")])];
        self.list((at, Table::Review, b""), &event, words([&"review or release: counter"]))?;
        let log = |n: u64, id: &[u8]| vec![words([&format!("release {n}")]), words([&hex::encode(id)])];
        self.list((at, Table::RecordList, RELEASE_LOG), &log, words([&"release: counter"]))?;
        self.facets(at)?;
        let records = self.audit.items(at, Table::Record, b"", None)?;
        for (place, content) in records {
            let record = decode::<OwnRow>("record", &content?)?.record()?;
            let (id, header) = (record.id(), record.header());
            self.point((at, Table::Gate, id.as_bytes()), words([&id]))?;
            self.indexed(at, (index::LINE, &index::line(header.originator, header.line)), place, id)?;
            let slots = header.kind.slots();
            let fields = slots.filter_map(|slot| Some((slot.number, record.value(slot.number)?))).collect();
            self.found(at, (place, id, header.kind), fields)?;
            self.file(at, record.value(files::content_slot()), id)?;
            let (book, node) = (self.node.book(), self.node);
            for held in node.rules().agreements.iter() {
                for (partner, _) in book.iter() {
                    let feed = feeds::outgoing(node, *partner, held.id).id();
                    self.point((at, Table::Release, &record_in_feed(id, feed)), words([&id]))?;
                }
            }
        }
        Ok(())
    }
    fn facets(&mut self, at: Partition) -> Fallible {
        let what = "what records share";
        self.list((at, Table::Facet, b""), &|n, _| vec![words([&what, &n])], words([&"what records share: counter"]))
    }
    fn file(&mut self, at: Partition, content: Option<Value>, id: RecordId) -> Fallible {
        let Some(content) = content.as_ref().and_then(Content::from_value) else { return Ok(()) };
        self.point((at, Table::Attachment, content.sha256.as_bytes()), words([&id]))?;
        self.point((at, Table::Attachment, content.sha256.as_bytes()), words([&content.sha256]))?;
        let row = self.audit.get(at, Table::Attachment, content.sha256.as_bytes())?;
        assert!(row.is_none_or(|row| decode::<FileRow>("file", &row).is_ok()));
        Ok(())
    }
    fn feed(&mut self, at: Partition, feed: &FeedKey, table: Table, what: &str) -> Fallible {
        let (id, what) = (feed.id(), format!("{what} of feed {}", feed.id()));
        // A run that is gone is also told by the records that it brought or sent.
        let carried = |n: u64, content: &[u8]| {
            let sent = decode::<SentRun>("run", content).map(|run| run.first);
            let came = decode::<RunInRow>("run", content).is_ok();
            let mut all = vec![words([&id, &n])];
            all.extend((sent.is_ok() || came).then(|| words([&id, &"lead elsewhere"])));
            all
        };
        self.list((at, table, id.as_bytes()), &carried, words([&what, &"counter"]))?;
        // A row that says less than the list holds.
        let [_, counter] = self.audit.list_rows(at, table, id.as_bytes())?;
        self.add(counter, words([&id]));
        Ok(())
    }
    fn shared(&mut self, at: Partition, agreement: entente_protocol::id::AgreementId) -> Fallible {
        let came = |n: u64, content: &[u8]| {
            let id = decode::<ReceivedRow>("received record", content).ok().and_then(|row| row.id());
            vec![words([&format!("received record {n}")]), words([&id.map(|id| id.to_string()).unwrap_or_default()])]
        };
        self.list((at, Table::Received, b""), &came, words([&"received record: counter"]))?;
        self.facets(at)?;
        for (place, content) in self.audit.items(at, Table::Received, b"", None)? {
            let verified = decode::<ReceivedRow>("received record", &content?)?.verified()?;
            let (id, header) = (verified.id(), verified.header());
            for table in [Table::Withdrawn, Table::Wanted] {
                self.point((at, table, id.as_bytes()), words([&id]))?;
            }
            let what = format!("earlier disclosure of {id}");
            let scope = id.as_bytes().as_slice();
            self.list((at, Table::Earlier, scope), &|n, _| vec![words([&what, &n])], words([&what, &"counter"]))?;
            self.indexed(at, (index::LINE, &index::line(header.originator, header.line)), place, id)?;
            let fields = verified.slots().iter().map(|slot| (slot.opening.slot, slot.value.clone())).collect();
            self.found(at, (place, id, header.kind), fields)?;
            self.file(at, verified.value(files::content_slot()).cloned(), id)?;
        }
        let (book, node) = (self.node.book(), self.node);
        for (partner, _) in book.iter() {
            let out = feeds::outgoing(node, *partner, agreement);
            self.point((Partition::Own, Table::Cursor, &feeds::out_key(&out)), words([&out.id()]))?;
            self.feed(Partition::Own, &out, Table::RunOut, "sent run")?;
            self.feed(Partition::Own, &out, Table::Receipt, "receipt")?;
            self.feed(Partition::Own, &out, Table::Pending, "what waits")?;
            self.point((at, Table::Cursor, &feeds::store_key(*partner)), words([partner]))?;
            self.point((at, Table::Cursor, &feeds::store_key(*partner)), words([&agreement]))?;
            if let Some(store) = feeds::known_store(node, *partner, agreement)? {
                let feed = feeds::incoming(node, *partner, store, agreement);
                self.point((at, Table::Cursor, &feeds::in_key(&feed)), words([&feed.id()]))?;
                self.feed(at, &feed, Table::RunIn, "received run")?;
            }
            let wished = |_: u64, content: &[u8]| {
                let file = decode::<wishes::WantedFile>("wanted file", content);
                vec![words([&file.map(|file| file.record.to_string()).unwrap_or_default()])]
            };
            self.list((at, Table::Wanted, &wishes::scope(*partner)), &wished, words([&"wanted: counter"]))?;
            let what = format!("store of {} under {}", partner.short(), agreement.short());
            let scope = retention::stores_scope(*partner);
            self.list((at, Table::Recall, &scope), &|n, _| vec![words([&what, &n])], words([&what, &"counter"]))?;
        }
        for (scope, what) in [(recall::ASKED, "recall under"), (hold::HOLDS, "hold under")] {
            let what = format!("{what} {}", agreement.short());
            self.list((at, Table::Recall, scope), &|n, _| vec![words([&what, &n])], words([&what, &"counter"]))?;
        }
        for (_, content) in self.audit.items(at, Table::Recall, recall::ASKED, None)? {
            let row = decode::<AskedRow>("recall", &content?)?;
            self.point((at, Table::Recall, &recall::asked_key(row.recall)), words([&row.record]))?;
            self.point((at, Table::Recall, &recall::asked::about_key(row.record)), words([&row.record]))?;
        }
        for (_, content) in self.audit.items(at, Table::Recall, hold::HOLDS, None)? {
            let row = decode::<hold::HoldRow>("hold", &content?)?;
            self.point((at, Table::Recall, &hold::key(row.record)), words([&row.record]))?;
        }
        Ok(())
    }
    fn recalls(&mut self) -> Fallible {
        let at = Partition::Own;
        let numbered = |what: String| move |n: u64, _: &[u8]| vec![words([&what, &n])];
        let counter = |what: &str| words([&what, &"counter"]);
        self.list(
            (at, Table::Recall, recall::OURS),
            &numbered("row of recalls".to_owned()),
            counter("row of recalls"),
        )?;
        let answers = "answers to recalls";
        self.list((at, Table::Recall, recall::ANSWERS), &numbered(answers.to_owned()), counter(answers))?;
        for (place, _) in self.audit.items(at, Table::Recall, recall::OURS, None)? {
            let number = recall::asking::number_of(place);
            let what = format!("records of recall {number}");
            let scope = recall::records_scope(place);
            self.list((at, Table::Recall, &scope), &numbered(what.clone()), counter(&what))?;
            let what = format!("holder of recall {number}");
            let scope = recall::holders_scope(place);
            self.list((at, Table::Recall, &scope), &numbered(what.clone()), counter(&what))?;
            for (n, content) in self.audit.items(at, Table::Recall, &scope, None)? {
                let row = decode::<HolderRow>("holder", &content?)?;
                let key = recall::holder_key(row.recall, row.partner);
                self.point((at, Table::Recall, &key), words([&what, &n]))?;
            }
        }
        let book = self.node.book();
        for (partner, _) in book.iter() {
            let what = format!("what is to be said to {}", partner.short());
            let scope = recall::to_scope(*partner);
            self.list((at, Table::Recall, &scope), &numbered(what.clone()), counter(&what))?;
            self.point((at, Table::Recall, &recall::first_key(*partner)), words([&what]))?;
        }
        Ok(())
    }
}
