//! `step-...`: parts of the program called as a library, one thread, for each record. They show where time goes;
//! none of them is what a user waits for.

use super::Group;
use crate::{bench::Bench, input::Format, measure::Figure, parts};
use anyhow::{Context, Result};
use entente_node::{
    clock::SystemClock,
    config::Home,
    ingest::{mapping::Mapping, table},
    node::Node,
    seal::{keyring::PartitionKeys, value},
    secret::unlock::Unlock,
};
use entente_protocol::{
    batch::Batch,
    clearance::Clearance,
    feed::Release,
    id::RecordId,
    record::{Record, Redacted, Verified},
};
use std::{fs, hint::black_box, sync::Arc, time::Instant};

/// The group.
pub const GROUP: Group = Group {
    name: "steps",
    figures: &[
        "step-parse",
        "step-map",
        "step-commit",
        "step-commit-few",
        "step-attest",
        "step-seal",
        "step-open",
        "step-decide",
        "step-redact",
        "step-verify",
        "step-verify-batch",
    ],
    about: "parts of the program as a library calls, microseconds a record: where time goes, not what anybody waits for",
    measure,
};

/// Records of one import step, and of one batch.
const RECORDS: u64 = 5_000;
/// Records of a run, whose batch proof is one.
const RUN: usize = 1_000;

/// What a short record holds: work grows with the fields that are present.
const FEW: [&str; 3] = ["number", "eval", "type"];

/// Microseconds for each of `count`, over all runs.
fn timed(bench: &Bench, name: &'static str, count: usize, mut all: impl FnMut() -> Result<()>) -> Result<Figure> {
    let runs = bench.repeat(|| {
        let begun = Instant::now();
        all()?;
        Ok(begun.elapsed().as_secs_f64() * 1e6 / count.max(1) as f64)
    })?;
    Ok(Figure::new(name, "us/record", runs))
}

fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let world = bench.folder("steps")?;
    let pair = bench.pair(world.path())?;
    let clock = Arc::new(SystemClock);
    let node = Node::open(Home::at(pair.a.path()), &Unlock::IdentityFile(pair.a.key()), clock)
        .map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let count = RECORDS.min(bench.sizes.records.max(10));
    let drafts = parts::drafts(bench, count, node.keys.org)?;
    let records = drafts.iter().cloned().map(parts::commit).collect::<Result<Vec<Record>>>()?;
    let all = records.len();
    let mut figures = reading(bench, count)?;
    let commit = timed(bench, "step-commit", all, || {
        for draft in drafts.iter().cloned() {
            black_box(parts::commit(draft)?);
        }
        Ok(())
    })?;
    figures.push(commit.note("a draft, copied first, to a record: values encoded, slot tree hashed"));

    let few = drafts.iter().map(|draft| parts::only(draft, &FEW)).collect::<Result<Vec<_>>>()?;
    let commit_few = timed(bench, "step-commit-few", all, || {
        for draft in few.iter().cloned() {
            black_box(parts::commit(draft)?);
        }
        Ok(())
    })?;
    let fields = records.first().map_or(0, |record| record.values().len());
    figures.push(commit_few.note(format!("the same with {} of its {fields} fields", FEW.len())));

    let ids: Vec<RecordId> = records.iter().map(Record::id).collect();
    let key = &node.keys.records;
    let attest = || Batch::attest(&ids, &[3; 32], node.keys.org, node.clock.now(), None, key);
    figures.push(timed(bench, "step-attest", all, || {
        black_box(attest()?);
        Ok(())
    })?);
    figures.extend(sealing(bench, all)?);

    let clearances = records.iter().map(|record| decide(&node, record)).collect::<Result<Vec<Clearance>>>()?;
    figures.push(timed(bench, "step-decide", all, || {
        for record in &records {
            black_box(decide(&node, record)?);
        }
        Ok(())
    })?);
    let redact = |record: &Record, clearance: &Clearance| -> Result<Vec<u8>> {
        Ok(Release::new(Redacted::new(record, clearance)?, clearance)?.to_bytes()?)
    };
    let both = || records.iter().zip(&clearances);
    let releases = both().map(|(record, cleared)| redact(record, cleared)).collect::<Result<Vec<_>>>()?;
    figures.push(timed(bench, "step-redact", all, || {
        for (record, cleared) in both() {
            black_box(redact(record, cleared)?);
        }
        Ok(())
    })?);
    figures.push(timed(bench, "step-verify", all, || {
        for bytes in &releases {
            black_box(Verified::new(Release::from_bytes(bytes)?.into_redacted())?);
        }
        Ok(())
    })?);

    let batch = attest()?;
    let places = batch.positions();
    let mut shown: Vec<(u32, RecordId)> = ids.iter().take(RUN).filter_map(|id| Some((*places.get(id)?, *id))).collect();
    shown.sort_unstable();
    let proof = batch.prove(&shown.iter().map(|(place, _)| *place).collect::<Vec<_>>());
    figures.push(
        timed(bench, "step-verify-batch", shown.len(), || {
            black_box(proof.verify(node.keys.org, key.public(), &shown)?);
            Ok(())
        })?
        .note(format!("one joint proof over {} records of a batch of {all}", shown.len())),
    );
    Ok(figures)
}

fn reading(bench: &Bench, rows: u64) -> Result<Vec<Figure>> {
    let folder = bench.folder("rows")?;
    let (file, map, _) = bench.table(folder.path(), Format::Csv, rows)?;
    let mapping = Mapping::parse(&fs::read_to_string(map)?)?;
    let read = || table::open(&file, mapping.source());
    let count = usize::try_from(rows)?;
    let parse = timed(bench, "step-parse", count, || {
        for row in read()? {
            black_box(row?);
        }
        Ok(())
    })?;
    let rows = read()?.collect::<std::result::Result<Vec<_>, _>>()?;
    let map = timed(bench, "step-map", count, || {
        for row in &rows {
            black_box(mapping.map(row)?);
        }
        Ok(())
    })?;
    Ok(vec![parse.note("a row of CSV, read"), map.note("a row, to the fields of its record")])
}

fn sealing(bench: &Bench, count: usize) -> Result<[Figure; 2]> {
    let keys = PartitionKeys::generate()?;
    let content = vec![5; 1_024];
    let sealed = value::seal(&keys, b"row", &content, &[1; value::RANDOM_BYTES])?;
    let seal = timed(bench, "step-seal", count, || {
        (0..count).try_for_each(|_| {
            black_box(value::seal(&keys, b"row", &content, &[1; value::RANDOM_BYTES])?);
            Ok(())
        })
    })?;
    let open = timed(bench, "step-open", count, || {
        (0..count).try_for_each(|_| {
            black_box(value::open(&keys, b"row", sealed.clone())?);
            Ok(())
        })
    })?;
    Ok([seal.note("one value of 1 KB"), open.note("one value of 1 KB")])
}

/// Asks the policy of an open node, as its outbox does.
fn decide(node: &Node, record: &Record) -> Result<Clearance> {
    let rules = node.rules();
    let (partner, _) = rules.book.iter().next().context("no partner")?;
    let agreement = rules.agreements.iter().next().context("no agreement")?.id;
    parts::decide(&rules.policy, record, (*partner, agreement), node.clock.now())
}
