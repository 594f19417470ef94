//! Whether a call would be refused, before a person is asked whether it is to be carried out: nobody says yes to what cannot
//! be. Nothing is changed here; what then changes is checked again.

use super::Call;
use crate::{agreements, error::Fault, node::Node, onward, recall};
use serde_json::Value as Json;

/// Checks a call as it will be checked when it is carried out. What people are shown before they are asked, where it has that.
pub(super) fn would(node: &Node, call: &Call) -> Result<Json, Fault> {
    match call {
        Call::AgreementApprove { agreement, digest, by } => {
            Ok(agreements::would_approve(node, agreement, digest, by).map(|()| Json::Null)?)
        }
        Call::AgreementErase { agreement, by, copies } => {
            Ok(recall::ending::would_erase(node, agreement, (by, copies)).map(|()| Json::Null)?)
        }
        Call::OnwardAnswer { request, narrowed, by } => {
            Ok(onward::answering::would_answer(node, *request, narrowed.as_ref(), by).map(|()| Json::Null)?)
        }
        Call::RecallConfirm { recall, by } => Ok(recall::asking::would_confirm(node, *recall, by)?),
        _ => Err(Fault::input("call", "nobody is asked before this call")),
    }
}
