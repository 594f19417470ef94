//! What commands ask of a node: one path, whether it runs or the command opens the store itself.
//!
//! The command line makes a [`Call`]; [`answer`] carries it out over an open [`Node`]; what comes back
//! is JSON for programs, which `commands` renders for people. Paths are absolute: the running node
//! may stand in another folder.

mod faults;
mod select;
mod would;

use crate::{
    agreements, audit, backup, bundle,
    clock::say,
    custody::{self, view::LogCall},
    doctor,
    error::Fault,
    ingest::import::{self, ImportOptions},
    keys,
    node::Node,
    onward::{self, answering::Narrowed, asking::Wish},
    package,
    partners::{self, PartnerState, PartnerView},
    recall::{self, asked, asking, ending, hold, holders, select::Common},
    receive::quarantine,
    records::{
        gate::{self, Pass, Review},
        history, passing,
        search::{self, Query},
        show,
    },
    redlines, regular,
    share::{explain, preview},
    users::{self, UserCall, Who, acts},
};
use entente_protocol::{identity::Card, recall::Act, time::UnixMillis};
pub use select::Selection;
use select::select;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// Which records of ours a recall is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recalled {
    /// By id, or by a query.
    Selected(Selection),
    /// By what they have in common.
    With(Common),
}

/// What can be asked of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// The organisation's identity.
    Identity,
    /// The own card, in its armour.
    Card,
    /// Renews the node's certificate now.
    IdentityRenew,
    /// Keys over time.
    Keys(keys::Ask),
    /// What a card file says, with its words, trusting nothing.
    PartnerRead(PathBuf),
    /// Adds a partner whose words were confirmed.
    PartnerAdd {
        /// The card file.
        path: PathBuf,
        /// The words as confirmed.
        words: String,
    },
    /// Every partner.
    PartnerList,
    /// One partner, by handle or id.
    PartnerShow(String),
    /// The newest card of one partner.
    PartnerCard(String),
    /// Suspends, resumes or removes.
    PartnerState {
        /// Handle or id.
        partner: String,
        /// To what.
        state: PartnerState,
    },
    /// Judges again what a partner sent and what did not hold, by handle or id.
    PartnerRetry(String),
    /// Checks an agreement file without keeping anything.
    AgreementCheck(PathBuf),
    /// Signs an agreement file (text, or signed so far), keeps it, and says where the signed file is.
    AgreementSign {
        /// The file.
        path: PathBuf,
        /// Where to write the signed file.
        output: PathBuf,
    },
    /// Takes a signed agreement file from another party.
    AgreementAdd(PathBuf),
    /// Every agreement.
    AgreementList,
    /// One agreement, by id or its beginning: the text that people sign, and who has signed.
    AgreementShow(String),
    /// The usual cases of agreements.
    AgreementTemplates,
    /// A draft of a usual case.
    AgreementNew {
        /// Which case.
        template: String,
        /// With whom.
        partner: String,
        /// The country that it is about.
        country: Option<String>,
    },
    /// What of our holdings would leave under a version of an agreement.
    AgreementSimulate {
        /// Which.
        version: agreements::Version,
        /// How it is shown.
        shown: preview::Shown,
    },
    /// What would leave under one version and not under another.
    AgreementDiff {
        /// The one before.
        old: agreements::Version,
        /// The one after.
        new: agreements::Version,
        /// How it is shown.
        shown: preview::Shown,
    },
    /// Whether records, or a field of them, can leave under what is in force.
    AgreementProve {
        /// What is to be proved.
        property: String,
        /// How long a solver may take, in seconds.
        timeout_s: u64,
    },
    /// Signs a proposal that came over the wire.
    AgreementAccept {
        /// Id or its beginning.
        agreement: String,
        /// Digest of the version that the person has read: a newer proposal is not signed in its place.
        digest: String,
    },
    /// One of our signatories approves a proposal.
    AgreementApprove {
        /// Id or its beginning.
        agreement: String,
        /// Digest of the version that the person has read.
        digest: String,
        /// Who.
        by: String,
    },
    /// Drops a proposal that people do not want.
    AgreementDrop {
        /// Id or its beginning.
        agreement: String,
        /// Digest of the version that the person has read.
        digest: String,
    },
    /// Sets our standing in an agreement: active, suspended, ended.
    AgreementStanding {
        /// Id or its beginning.
        agreement: String,
        /// To what.
        standing: entente_protocol::agreement::Standing,
    },
    /// Makes what was received under an agreement that is over unreadable.
    AgreementErase {
        /// Id or its beginning.
        agreement: String,
        /// Who asks for it.
        by: String,
        /// Copies of the keyring that could still open it.
        copies: Vec<String>,
    },
    /// Proposes to ask records of ours back.
    RecallPropose {
        /// Which.
        records: Recalled,
        /// What is asked of holders.
        act: Act,
        /// Why.
        reason: String,
        /// Who proposes.
        by: String,
    },
    /// Confirms a recall that another person proposed.
    RecallConfirm {
        /// Its number.
        recall: u64,
        /// Who confirms.
        by: String,
    },
    /// Drops a recall that was not confirmed.
    RecallDrop {
        /// Its number.
        recall: u64,
        /// Who drops it.
        by: String,
    },
    /// Who has done what a recall asks.
    RecallStatus(u64),
    /// Ask whether received records may go on.
    OnwardAsk {
        /// Ids or evidence numbers.
        records: Vec<String>,
        /// To whom, and what of them.
        wish: Wish,
    },
    /// What was asked, by us and of us.
    OnwardList,
    /// Answer a request; with no if nothing is named.
    OnwardAnswer {
        /// Its number.
        request: u64,
        /// How the grant differs from what was asked.
        narrowed: Option<Narrowed>,
        /// Who answers.
        by: String,
    },
    /// Who holds records of ours by another's hand: of one, or of all.
    OnwardHolders(Option<String>),
    /// Every recall of ours.
    RecallList,
    /// What partners asked of us.
    RecallsReceived,
    /// Keeps a received record from being deleted.
    HoldPlace {
        /// Which.
        record: String,
        /// By what.
        reason: String,
        /// Who places it.
        by: String,
    },
    /// Lifts a hold.
    HoldLift {
        /// Which.
        record: String,
        /// Who lifts it.
        by: String,
    },
    /// Every hold.
    HoldList,
    /// Checks a file or folder of red lines; nothing is kept.
    RedLineCheck(PathBuf),
    /// The red lines that hold here.
    RedLineList,
    /// About logs: the own one, and partners'.
    Log(LogCall),
    /// What is known about the time.
    ClockShow,
    /// Lowers the latest time that this machine's clock has shown; to now where no time is given.
    ClockLower {
        /// To when.
        to: Option<UnixMillis>,
    },
    /// Imports a file.
    Import(ImportOptions),
    /// Sets the review state.
    Review {
        /// Of which records.
        records: Selection,
        /// To what.
        state: Review,
    },
    /// Takes a stage of the review, where the settings name stages.
    Stage {
        /// For which records.
        records: Selection,
        /// Which.
        stage: String,
    },
    /// Releases.
    Release(Selection),
    /// Events that a person has signed, in hexadecimal: each is its own proof.
    Signed {
        /// The events.
        events: Vec<String>,
    },
    /// Persons of this organisation.
    User(UserCall),
    /// Searches.
    Search(Query),
    /// One record.
    RecordShow(String),
    /// Proves one record as far as this node can.
    RecordVerify(String),
    /// What happened to one record, step by step, and who signed it.
    RecordHistory(String),
    /// Writes a record's file.
    RecordAttachment {
        /// The attachment record.
        record: String,
        /// Where to.
        output: PathBuf,
    },
    /// Which fields of a record would leave to a partner, and why.
    Explain {
        /// The record.
        record: String,
        /// The partner.
        partner: String,
    },
    /// What of a received record is here, under which clause, and why the rest is not.
    ExplainReceived {
        /// The record.
        record: String,
        /// Who recorded it.
        partner: String,
    },
    /// Counts over every record of ours: what leaves to a partner, and what stays and why.
    ExplainAll {
        /// The partner.
        partner: String,
    },
    /// Writes an audit export.
    AuditExport(audit::Options),
    /// Writes an evidence package.
    PackageMake(package::Options),
    /// Writes a bundle for a partner.
    BundleExport(bundle::ExportOptions),
    /// Takes a bundle of a partner.
    BundleImport(PathBuf),
    /// How far bundles with a partner are.
    BundleShow(String),
    /// Partners, feeds, lag, errors, sizes.
    Status,
    /// Makes an archive of all that is held, in a folder.
    Backup {
        /// Which folder.
        folder: PathBuf,
        /// One that needs no other.
        full: bool,
    },
    /// What is well, what is not, and what to do.
    Doctor {
        /// Say nothing of partners.
        offline: bool,
    },
    /// Whether everything that is stored is still what was written.
    Check {
        /// Whether to remove files that no record speaks of; only while the node does not run.
        sweep: bool,
    },
    /// One round with one partner or all; only while the node runs.
    Sync {
        /// Handle or id; all where absent.
        partner: Option<String>,
    },
    /// Asks a running node to stop.
    Stop,
    /// Whether a call of which a person is asked first would be refused, as far as that can be told; nothing is changed.
    Would(Box<Self>),
}

impl Call {
    /// Its name, for the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Card => "card",
            Self::IdentityRenew => "identity-renew",
            Self::Keys(ask) => ask.name(),
            Self::PartnerRead(_) => "partner-read",
            Self::PartnerAdd { .. } => "partner-add",
            Self::PartnerList => "partner-list",
            Self::PartnerShow(_) => "partner-show",
            Self::PartnerCard(_) => "partner-card",
            Self::PartnerState { .. } => "partner-state",
            Self::PartnerRetry(_) => "partner-retry",
            Self::AgreementCheck(_) => "agreement-check",
            Self::AgreementSign { .. } => "agreement-sign",
            Self::AgreementAdd(_) => "agreement-add",
            Self::AgreementList => "agreement-list",
            Self::AgreementShow(_) => "agreement-show",
            Self::AgreementTemplates => "agreement-templates",
            Self::AgreementNew { .. } => "agreement-new",
            Self::AgreementSimulate { .. } => "agreement-simulate",
            Self::AgreementDiff { .. } => "agreement-diff",
            Self::AgreementProve { .. } => "agreement-prove",
            Self::AgreementAccept { .. } => "agreement-accept",
            Self::AgreementApprove { .. } => "agreement-approve",
            Self::AgreementDrop { .. } => "agreement-drop",
            Self::AgreementStanding { .. } => "agreement-standing",
            Self::AgreementErase { .. } => "agreement-erase",
            Self::RecallPropose { .. } => "recall-propose",
            Self::RecallConfirm { .. } => "recall-confirm",
            Self::RecallDrop { .. } => "recall-drop",
            Self::RecallStatus(_) => "recall-status",
            Self::RecallList => "recall-list",
            Self::RecallsReceived => "recalls-received",
            Self::OnwardAsk { .. } => "onward-ask",
            Self::OnwardList => "onward-list",
            Self::OnwardAnswer { .. } => "onward-answer",
            Self::OnwardHolders(_) => "onward-holders",
            Self::HoldPlace { .. } => "hold-place",
            Self::HoldLift { .. } => "hold-lift",
            Self::HoldList => "hold-list",
            Self::RedLineCheck(_) => "red-line-check",
            Self::RedLineList => "red-line-list",
            Self::Log(call) => call.name(),
            Self::ClockShow => "clock-show",
            Self::ClockLower { .. } => "clock-lower",
            Self::Import(_) => "import",
            Self::Review { .. } => "review",
            Self::Stage { .. } => "stage",
            Self::Release(_) => "release",
            Self::Signed { .. } => "signed",
            Self::User(call) => call.name(),
            Self::Search(_) => "search",
            Self::RecordShow(_) => "record-show",
            Self::RecordVerify(_) => "record-verify",
            Self::RecordHistory(_) => "record-history",
            Self::RecordAttachment { .. } => "record-attachment",
            Self::Explain { .. } => "explain",
            Self::ExplainReceived { .. } => "explain-received",
            Self::ExplainAll { .. } => "explain-all",
            Self::AuditExport(_) => "audit-export",
            Self::PackageMake(_) => "package-make",
            Self::BundleExport(_) => "bundle-export",
            Self::BundleImport(_) => "bundle-import",
            Self::BundleShow(_) => "bundle-show",
            Self::Status => "status",
            Self::Backup { .. } => "backup",
            Self::Doctor { .. } => "doctor",
            Self::Check { .. } => "check",
            Self::Sync { .. } => "sync",
            Self::Stop => "stop",
            Self::Would(_) => "would",
        }
    }
    /// Whether it leaves partners, agreements and records as they are, so that no session has anything new to look for.
    pub const fn only_reads(&self) -> bool {
        match self {
            Self::Keys(ask) => ask.only_reads(),
            Self::Log(call) => call.only_reads(),
            Self::Identity
            | Self::Card
            | Self::PartnerRead(_)
            | Self::PartnerList
            | Self::PartnerShow(_)
            | Self::PartnerCard(_)
            | Self::AgreementCheck(_)
            | Self::AgreementList
            | Self::AgreementShow(_)
            | Self::AgreementTemplates
            | Self::AgreementNew { .. }
            | Self::AgreementSimulate { .. }
            | Self::AgreementDiff { .. }
            | Self::AgreementProve { .. }
            | Self::RecallStatus(_)
            | Self::RecallList
            | Self::RecallsReceived
            | Self::OnwardList
            | Self::OnwardHolders(_)
            | Self::HoldList
            | Self::RedLineCheck(_)
            | Self::RedLineList
            | Self::ClockShow
            | Self::Search(_)
            | Self::RecordShow(_)
            | Self::RecordVerify(_)
            | Self::RecordHistory(_)
            | Self::User(UserCall::Begin(_) | UserCall::List | UserCall::Show(_))
            | Self::RecordAttachment { .. }
            | Self::AuditExport(_)
            | Self::PackageMake(_)
            | Self::Explain { .. }
            | Self::ExplainReceived { .. }
            | Self::ExplainAll { .. }
            | Self::BundleShow(_)
            | Self::Status
            | Self::Backup { .. }
            | Self::Doctor { .. }
            | Self::Check { .. }
            | Self::Would(_) => true,
            Self::IdentityRenew
            | Self::PartnerAdd { .. }
            | Self::PartnerState { .. }
            | Self::PartnerRetry(_)
            | Self::AgreementSign { .. }
            | Self::AgreementAdd(_)
            | Self::AgreementAccept { .. }
            | Self::AgreementApprove { .. }
            | Self::AgreementDrop { .. }
            | Self::AgreementStanding { .. }
            | Self::AgreementErase { .. }
            | Self::RecallPropose { .. }
            | Self::RecallConfirm { .. }
            | Self::RecallDrop { .. }
            | Self::OnwardAsk { .. }
            | Self::OnwardAnswer { .. }
            | Self::HoldPlace { .. }
            | Self::HoldLift { .. }
            | Self::ClockLower { .. }
            | Self::Import(_)
            | Self::Review { .. }
            | Self::Stage { .. }
            | Self::Release(_)
            | Self::Signed { .. }
            | Self::User(_)
            | Self::BundleExport(_)
            | Self::BundleImport(_)
            | Self::Sync { .. }
            | Self::Stop => false,
        }
    }
}

/// How far a long call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Done so far.
    pub done: u64,
    /// In all, if known.
    pub total: Option<u64>,
}

/// Whoever wants to know how far a call has come.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress);

/// Reads a small text file that a person named.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, Fault> {
    let refuse = |e| Fault::input("file", format!("`{}` cannot be read: {e}", path.display()));
    regular::text(path, bytes_max).map_err(refuse)
}

/// Carries out a call of nobody in particular.
pub fn answer(node: &Node, call: &Call, progress: OnProgress<'_>) -> Result<Json, Fault> {
    answer_by(node, call, None, progress)
}

/// Carries out a call, `by` being a person's signature over it. Whose it is, and whether that one may, is asked first and
/// here alone. Where the store failed on the way, nothing is reported as done, whatever became of the error.
pub fn answer_by(node: &Node, call: &Call, by: Option<&str>, progress: OnProgress<'_>) -> Result<Json, Fault> {
    let answer = acts::admit(node, call, by).and_then(|who| {
        let answer = carry_out(node, call, &who, progress)?;
        acts::note(node, call, &who).map(|()| answer)
    });
    match node.holdings.failed() {
        Some(cause) => {
            let store = node.home.store();
            let store = store.display();
            Err(Fault::store(format!("the store `{store}` failed, and nothing more is done with it: {cause}")))
        }
        None => answer,
    }
}

fn carry_out(node: &Node, call: &Call, who: &Who, progress: OnProgress<'_>) -> Result<Json, Fault> {
    match call {
        Call::Identity => Ok(node.identity_view()),
        Call::Card => Ok(card_view(&node.keys.card)),
        Call::IdentityRenew => keys::renew(node, true).map(|_| node.identity_view()),
        Call::Keys(ask) => keys::answer(node, ask, progress),
        Call::PartnerRead(path) => {
            let card = partners::read_card(path)?;
            let payload = card.payload();
            Ok(json!({
                "id": payload.org.to_string(),
                "name": payload.name,
                "handle": payload.handle,
                "words": card.words().to_string(),
                "known": node.book().get(payload.org).is_some(),
            }))
        }
        Call::PartnerAdd { path, words } => {
            let org = partners::add(node, partners::read_card(path)?, words)?;
            node.reload()?;
            partner_view(node, &org.to_string())
        }
        Call::PartnerList => {
            let book = node.book();
            Ok(json!(book.iter().map(|(org, partner)| PartnerView::new(*org, partner)).collect::<Vec<_>>()))
        }
        Call::PartnerShow(given) => partner_view(node, given),
        Call::PartnerCard(given) => Ok(card_view(&node.book().find(given)?.1.card)),
        Call::PartnerState { partner, state } => {
            let org = node.book().find(partner)?.0;
            partners::set_state(node, org, *state)?;
            node.reload()?;
            partner_view(node, &org.to_string())
        }
        Call::PartnerRetry(given) => quarantine::retry(node, given),
        Call::AgreementCheck(path) => Ok(agreements::check_file(node, path)?),
        Call::AgreementSign { path, output } => Ok(agreements::sign_file(node, path, output)?),
        Call::AgreementAdd(path) => Ok(agreements::add_file(node, path)?),
        Call::AgreementList => Ok(json!(agreements::list(node)?)),
        Call::AgreementShow(given) => Ok(agreements::show(node, given)?),
        Call::AgreementTemplates => Ok(agreements::templates()),
        Call::AgreementNew { template, partner, country } => {
            Ok(agreements::draft(node, template, partner, country.as_deref())?)
        }
        Call::AgreementSimulate { version, shown } => preview::simulate(node, version, *shown, progress),
        Call::AgreementDiff { old, new, shown } => preview::diff(node, [old, new], *shown, progress),
        Call::AgreementProve { property, timeout_s } => Ok(agreements::prove(node, property, *timeout_s)?),
        Call::AgreementAccept { agreement, digest } => Ok(agreements::accept(node, agreement, digest)?),
        Call::AgreementApprove { agreement, digest, by } => Ok(agreements::approve(node, agreement, digest, by)?),
        Call::AgreementDrop { agreement, digest } => Ok(agreements::drop_proposal(node, agreement, digest)?),
        Call::AgreementStanding { agreement, standing } => Ok(agreements::state(node, agreement, *standing)?),
        Call::AgreementErase { agreement, by, copies } => Ok(ending::erase(node, agreement, (by, copies), progress)?),
        Call::RecallPropose { records, act, reason, by } => {
            let records = match records {
                Recalled::Selected(selection) => select(node, selection)?,
                Recalled::With(common) => recall::select::with(node, common)?,
            };
            Ok(asking::propose(node, &records, *act, (reason, by), progress)?)
        }
        Call::RecallConfirm { recall, by } => Ok(asking::confirm(node, *recall, by, progress)?),
        Call::RecallDrop { recall, by } => Ok(asking::drop_proposed(node, *recall, by)?),
        Call::RecallStatus(recall) => Ok(holders::status(node, *recall)?),
        Call::RecallList => Ok(asking::list(node)?),
        Call::RecallsReceived => Ok(asked::list(node)?),
        Call::OnwardAsk { records, wish } => {
            let ids = records.iter().map(|given| Ok(show::resolve_any(node, given)?.0));
            let ids = ids.collect::<Result<Vec<_>, Fault>>()?;
            Ok(onward::asking::ask(node, &ids, wish)?)
        }
        Call::OnwardList => Ok(onward::asking::list(node)?),
        Call::OnwardAnswer { request, narrowed, by } => {
            Ok(onward::answering::answer(node, *request, narrowed.as_ref(), by)?)
        }
        Call::OnwardHolders(record) => {
            let record = record.as_deref().map(|given| show::resolve_own(node, given)).transpose()?;
            Ok(onward::passed::list(node, record)?)
        }
        Call::HoldPlace { record, reason, by } => Ok(hold::place(node, record, reason, by)?),
        Call::HoldLift { record, by } => Ok(hold::lift(node, record, by)?),
        Call::HoldList => Ok(hold::list(node)?),
        Call::RedLineCheck(path) => {
            let lines = redlines::read(path, &node.book()).map_err(|e| Fault::input("red-lines", e))?;
            Ok(redlines::view(node, &lines))
        }
        Call::RedLineList => Ok(redlines::view(node, &node.red_lines)),
        Call::Log(call) => custody::view::answer_to(node, call, who, progress),
        Call::ClockShow => Ok(say::view(node)),
        Call::ClockLower { to } => say::lower(node, *to),
        Call::Import(options) => {
            let mut report = json!(import::import(node, options, who, progress)?);
            if let (Some(held), Some(map), false) = (who.held(), report.as_object_mut(), options.dry_run) {
                map.insert("sign".to_owned(), json!(passing::lay_imports(node, held)?));
            }
            Ok(report)
        }
        Call::Review { records, state } => select::review(node, (records, *state), who, progress),
        Call::Stage { records, stage } => {
            let pass = Pass::Stage(passing::stage(node, stage)?);
            Ok(json!(gate::pass_showing(node, &select(node, records)?, &pass, who.held(), progress)?))
        }
        Call::Release(records) => {
            Ok(json!(gate::pass_showing(node, &select(node, records)?, &Pass::Release, who.held(), progress)?))
        }
        Call::Signed { events } => passing::take(node, events),
        Call::User(call) => users::call(node, call, who),
        Call::Search(query) => Ok(json!(search::search(node, query)?)),
        Call::RecordShow(given) => show::show(node, given),
        Call::RecordVerify(given) => show::verify(node, given),
        Call::RecordHistory(given) => history::history(node, given),
        Call::RecordAttachment { record, output } => show::attachment(node, record, output, progress),
        Call::Explain { record, partner } => explain::explain(node, record, partner),
        Call::ExplainReceived { record, partner } => explain::received(node, record, partner),
        Call::ExplainAll { partner } => explain::summary(node, partner),
        Call::AuditExport(options) => audit::export(node, options, progress),
        Call::PackageMake(options) => package::make(node, options, progress),
        Call::BundleExport(options) => bundle::export(node, options, progress),
        Call::BundleImport(path) => bundle::import(node, path, progress),
        Call::BundleShow(given) => bundle::show(node, given),
        Call::Status => crate::status::status(node),
        Call::Backup { folder, full } => backup::backup(node, folder, *full, progress),
        Call::Doctor { offline } => doctor::doctor(node, *offline),
        Call::Check { sweep } => doctor::checked::check(node, *sweep, progress),
        Call::Would(call) => would::would(node, call),
        Call::Sync { .. } | Call::Stop => {
            Err(Fault::input("not-running", "the node does not run: start it with `entente run`"))
        }
    }
}

/// A card to be given on, with its words.
fn card_view(card: &Card) -> Json {
    json!({ "card": card.to_armour(), "words": card.words().to_string() })
}

/// One partner as people and programs see it.
pub fn partner_view(node: &Node, given: &str) -> Result<Json, Fault> {
    let book = node.book();
    let (org, partner) = book.find(given)?;
    Ok(json!(PartnerView::new(org, partner)))
}
