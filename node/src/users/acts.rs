//! The one place through which every call goes: whose it is, and whether that one may do it.
//!
//! Where there are persons, a call is signed by one of them over its own bytes and a nonce that the node drew for it.
//! Which act a call is stands in [`act`]; what each role permits stands in `roles.cedar`. What is open to everybody who
//! reaches the node shows counts and the organisation's own card, and no evidence.

use super::{UserCall, Who, any};
use crate::{call::Call, error::Fault, keys::Ask, node::Node, onward::asking::Wish, records::gate::Review};
use entente_policy::roles::{Act, Denied};
use entente_protocol::{
    cose::SignatureBytes, limits::EVENT_TEXT_BYTES_MAX, text::misleading, time::UnixMillis, user::UserAct,
};

/// How far a person's clock may differ from the node's, which is the same machine's: an act that waited is asked again.
pub const APART_MS: u64 = 10 * 60 * 1_000;

/// The longest signed act or event that comes with a call.
pub const SIGNED_BYTES_MAX: usize = 64 << 10;

/// Which act a call is; none for what is open.
pub fn act(call: &Call) -> Option<Act> {
    Some(match call {
        // What the card and the status say, a partner and a look at the disk say too. What a person signed is its own proof.
        // A backup is made by a clock at night, and opens for the node's own secrets alone.
        Call::Identity
        | Call::Card
        | Call::Status
        | Call::ClockShow
        | Call::Backup { .. }
        | Call::Doctor { .. }
        | Call::Sync { .. }
        | Call::Stop
        | Call::Signed { .. }
        | Call::User(UserCall::Begin(_) | UserCall::Add { office: true, .. }) => return None,
        Call::User(UserCall::List | UserCall::Show(_)) => Act::Read,
        Call::User(UserCall::Add { .. } | UserCall::Roles { .. } | UserCall::Disable(_)) => Act::Manage,
        Call::IdentityRenew | Call::ClockLower { .. } => Act::Manage,
        Call::PartnerAdd { .. } | Call::PartnerState { .. } | Call::PartnerRetry(_) => Act::Partner,
        Call::AgreementSign { .. }
        | Call::AgreementAdd(_)
        | Call::AgreementAccept { .. }
        | Call::AgreementApprove { .. }
        | Call::AgreementDrop { .. }
        | Call::AgreementStanding { .. }
        | Call::AgreementErase { .. } => Act::Agree,
        Call::RecallPropose { .. } | Call::RecallConfirm { .. } | Call::RecallDrop { .. } => Act::Recall,
        Call::OnwardAsk { .. } | Call::OnwardAnswer { .. } => Act::Onward,
        Call::HoldPlace { .. } | Call::HoldLift { .. } => Act::Hold,
        Call::Import(_) => Act::Import,
        Call::Review { state, .. } => of_review(*state),
        Call::Stage { .. } => Act::Read,
        Call::Release(_) => Act::Release,
        Call::BundleExport(_) | Call::BundleImport(_) | Call::PackageMake(_) => Act::Exchange,
        Call::Log(log) if log.only_reads() => Act::Log,
        Call::Log(_) => Act::Manage,
        Call::Keys(ask) if ask.only_reads() => Act::Read,
        Call::Keys(_) => Act::Manage,
        Call::Check { .. } | Call::AuditExport(_) => Act::Audit,
        Call::PartnerRead(_)
        | Call::PartnerList
        | Call::PartnerShow(_)
        | Call::PartnerCard(_)
        | Call::AgreementCheck(_)
        | Call::AgreementList
        | Call::AgreementShow(_)
        | Call::AgreementTemplates
        | Call::AgreementNew { .. }
        | Call::AgreementSimulate { .. }
        | Call::AgreementDiff { .. }
        | Call::AgreementProve { .. }
        | Call::RecallStatus(_)
        | Call::RecallList
        | Call::RecallsReceived
        | Call::OnwardList
        | Call::OnwardHolders(_)
        | Call::HoldList
        | Call::RedLineCheck(_)
        | Call::RedLineList
        | Call::Search(_)
        | Call::RecordShow(_)
        | Call::RecordVerify(_)
        | Call::RecordHistory(_)
        | Call::RecordAttachment { .. }
        | Call::Explain { .. }
        | Call::ExplainReceived { .. }
        | Call::ExplainAll { .. }
        | Call::BundleShow(_) => Act::Read,
        Call::Would(call) => return act(call),
    })
}

/// The act of setting a review state.
pub const fn of_review(state: Review) -> Act {
    match state {
        Review::Draft | Review::Reviewed => Act::Review,
        Review::Verified => Act::Verify,
        Review::Refuted => Act::Refute,
    }
}

/// The name that a call gives as that of whoever asks.
fn named(call: &Call) -> Option<&str> {
    Some(match call {
        Call::AgreementErase { by, .. }
        | Call::AgreementApprove { by, .. }
        | Call::RecallPropose { by, .. }
        | Call::RecallConfirm { by, .. }
        | Call::RecallDrop { by, .. }
        | Call::OnwardAnswer { by, .. }
        | Call::OnwardAsk { wish: Wish { by, .. }, .. }
        | Call::Keys(Ask::Reattest { by, .. })
        | Call::HoldPlace { by, .. }
        | Call::HoldLift { by, .. } => by,
        Call::Would(call) => return named(call),
        _ => return None,
    })
}

/// The digest of a call, as it is asked.
pub fn digest(call: &Call) -> Result<entente_protocol::id::Hash, Fault> {
    Ok(UserAct::of_call(&serde_json::to_vec(call).map_err(|e| Fault::input("call", e))?))
}

/// Whose call it is. Refuses it where there are persons and none of them asks, or one who may not.
pub fn admit(node: &Node, call: &Call, by: Option<&str>) -> Result<Who, Fault> {
    let Some(act) = act(call) else { return Ok(Who::Office) };
    if !any(node)? {
        return Ok(Who::Office);
    }
    let by = by.ok_or_else(|| {
        Fault::input(
            "needs-user",
            "this organisation has persons, and each acts under their own name: name yourself with --user NAME, or set ENTENTE_USER",
        )
    })?;
    let who = verified(node, call, by)?;
    let held = who.held().ok_or_else(refused)?;
    node.roles.may(held.person(), act).map_err(|why| denied(held.name(), &why))?;
    if let Some(name) = named(call).filter(|name| *name != held.name()) {
        let message = format!("`{name}` is not who asks: you are `{}`, and sign for nobody else", held.name());
        return Err(Fault::input("by", message));
    }
    Ok(who)
}

/// Notes whose call it was, once it is carried out, with what the person signed and what that was about: the call as it was
/// asked, of which the signed act has the digest. What a person signs record by record names its signer itself.
pub fn note(node: &Node, call: &Call, who: &Who) -> Result<(), Fault> {
    let by_record = matches!(call, Call::Review { .. } | Call::Stage { .. } | Call::Release(_) | Call::Import(_));
    let Who::Person(held, signed) = who else { return Ok(()) };
    if by_record || call.only_reads() {
        return Ok(());
    }
    let mut txn = node.holdings.begin();
    let asked = serde_json::to_string(call).map_err(|e| Fault::input("call", e))?;
    let about = [
        ("user", held.certificate.id.to_string()),
        ("certificate", held.digest.to_string()),
        ("call", call.name().to_owned()),
        ("signed", hex::encode(&signed.0)),
        ("asked", asked),
    ];
    // Words of which a part is kept are not those that were signed. What names records of others goes when these are erased.
    let of_others = names_received(call);
    let whole = |(name, value): &&(&str, String)| {
        value.len() <= EVENT_TEXT_BYTES_MAX && misleading(value).is_none() && !(*name == "asked" && of_others)
    };
    let about: Vec<(&str, String)> = about.iter().filter(whole).cloned().collect();
    node.journal(&mut txn, "user-act", &about)?;
    txn.commit()?;
    Ok(())
}

/// Whether a call may say something of what others recorded.
const fn names_received(call: &Call) -> bool {
    matches!(call, Call::OnwardAsk { .. } | Call::HoldPlace { .. } | Call::HoldLift { .. } | Call::BundleExport(_))
}

fn refused() -> Fault {
    Fault::input(
        "user-refused",
        "what was signed is not taken: it is of another call, another person, or was asked before",
    )
}

/// What a person is told who may not.
pub fn denied(name: &str, why: &Denied) -> Fault {
    let code = if matches!(why, Denied::Forbidden(_)) { "four-eyes" } else { "not-permitted" };
    Fault::input(code, format!("`{name}` may not do this: {why}"))
}

/// The person who signed a call, by the newest certificate.
fn verified(node: &Node, call: &Call, by: &str) -> Result<Who, Fault> {
    let signed = hex::decode(by).ok().filter(|bytes| bytes.len() <= SIGNED_BYTES_MAX).map(SignatureBytes);
    let signed = signed.ok_or_else(refused)?;
    let claimed = signed.parse().map_err(|_| refused())?;
    let persons = super::now(node)?;
    let held = persons.into_iter().find(|held| held.certificate.key.id() == claimed.kid()).ok_or_else(refused)?;
    let act = UserAct::verify(&signed, &held.certificate.key).map_err(|_| refused())?;
    let fits = act.call == digest(call)? && act.user == held.digest && node.waiting.take(&act.nonce);
    if !fits || node.clock.now().0.abs_diff(act.at.0) > APART_MS {
        return Err(refused());
    }
    counts(&held, node.clock.now())?;
    Ok(Who::Person(Box::new(held), signed))
}

/// Whether a person counts now.
pub fn counts(held: &super::Held, now: UnixMillis) -> Result<(), Fault> {
    if held.certificate.counts(now) {
        return Ok(());
    }
    let why = if held.certificate.disabled.is_some() { "was disabled" } else { "has no certificate that counts now" };
    Err(Fault::input("user-ended", format!("`{}` {why}, and does nothing here", held.name())))
}
