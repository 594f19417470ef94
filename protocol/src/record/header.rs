//! The clear header: what every holder of a record sees and no redaction can drop.

use super::kind::Kind;
use crate::{
    codec::{self, Bounds, CodecError},
    id::{Hash, LineId, Nonce, OrgId, RecordId},
    label, limits,
    primitive::labelled,
    text,
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};

/// Version of the record format that this crate writes and reads.
pub const FORMAT: u64 = 1;

/// Traffic Light Protocol 2.0 (FIRST), strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the labels of TLP 2.0")]
pub enum Tlp {
    #[serde(rename = "RED")]
    Red,
    #[serde(rename = "AMBER+STRICT")]
    AmberStrict,
    #[serde(rename = "AMBER")]
    Amber,
    #[serde(rename = "GREEN")]
    Green,
    #[serde(rename = "CLEAR")]
    Clear,
}

impl Tlp {
    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Red => "RED",
            Self::AmberStrict => "AMBER+STRICT",
            Self::Amber => "AMBER",
            Self::Green => "GREEN",
            Self::Clear => "CLEAR",
        }
    }
    /// By its label; `WHITE` of TLP 1 is read as CLEAR.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Red, Self::AmberStrict, Self::Amber, Self::Green, Self::Clear];
        if name == "WHITE" { Some(Self::Clear) } else { all.into_iter().find(|tlp| tlp.name() == name) }
    }
}

/// The handling floor: binds above every clause; the stricter wins. It names no partner.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandlingFloor {
    /// Text that H3 requires (Europol handling codes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hc3: Option<String>,
    /// TLP 2.0 label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tlp: Option<Tlp>,
    /// Classification, such as `UN:CONFIDENTIAL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Europol handling codes H0 to H3, rising.
    #[serde(default, rename = "eu-hc", skip_serializing_if = "Vec::is_empty", deserialize_with = "some")]
    pub eu_hc: Vec<u8>,
    /// Originator control: onward only with the originator's signed grant.
    pub orcon: bool,
    /// EDTF date at which holders destroy it.
    #[serde(default, rename = "destroy-on", skip_serializing_if = "Option::is_none")]
    pub destroy_on: Option<String>,
    /// Not released before this time.
    #[serde(default, rename = "not-before", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixMillis>,
}

/// A list that is there has something in it: empty ones are left out, so that a floor has one encoding.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let codes = Vec::<u8>::deserialize(deserializer)?;
    if codes.is_empty() { Err(serde::de::Error::custom("an empty list")) } else { Ok(codes) }
}

impl HandlingFloor {
    pub(super) fn is_well_formed(&self) -> bool {
        let text = |t: &Option<String>| t.as_ref().is_none_or(|t| text::is_line(t));
        text(&self.hc3)
            && text(&self.class)
            && self.destroy_on.as_ref().is_none_or(|t| super::ladder::Edtf::parse(t).is_some())
            && self.eu_hc.iter().all(|code| *code <= 3)
            && self.eu_hc.windows(2).all(|pair| pair.first() < pair.last())
            && (!self.eu_hc.contains(&3) || self.hc3.is_some())
    }
}

/// The header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What kind of statement it is.
    pub kind: Kind,
    /// The line that it belongs to.
    pub line: LineId,
    /// The handling floor.
    pub floor: HandlingFloor,
    /// Makes the record's id unguessable.
    pub nonce: Nonce,
    /// Who recorded it.
    pub originator: OrgId,
}

impl Header {
    /// Whether a record with this header may amend one with that: only the originator amends, within a line and kind.
    pub fn may_amend(&self, earlier: &Self) -> bool {
        (self.originator, self.line, self.kind) == (earlier.originator, earlier.line, earlier.kind)
    }
}

/// Header and root as they are encoded, hashed and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBody {
    v: u64,
    kind: Kind,
    line: LineId,
    root: Hash,
    floor: HandlingFloor,
    nonce: Nonce,
    originator: OrgId,
}

/// A record's body: header and root, beside the very bytes that its id covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    header: Header,
    root: Hash,
    id: RecordId,
    bytes: Vec<u8>,
}

impl Body {
    /// Encodes header and root. Fails only if a field of the floor is beyond its bound.
    pub fn new(header: Header, root: Hash) -> Result<Self, CodecError> {
        let Header { kind, line, floor, nonce, originator } = header.clone();
        if !floor.is_well_formed() {
            return Err(CodecError::Shape);
        }
        let wire = WireBody { v: FORMAT, kind, line, root, floor, nonce, originator };
        let bytes = codec::to_vec(&wire, Bounds::bytes(limits::RECORD_BODY_BYTES_MAX))?;
        Ok(Self { header, root, id: id_of(&bytes), bytes })
    }

    /// Reads a body; the bytes received are the bytes kept.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let wire: WireBody = codec::from_slice(bytes, Bounds::bytes(limits::RECORD_BODY_BYTES_MAX))?;
        let WireBody { v, kind, line, root, floor, nonce, originator } = wire;
        if v != FORMAT || !floor.is_well_formed() {
            return Err(CodecError::Shape);
        }
        Ok(Self {
            header: Header { kind, line, floor, nonce, originator },
            root,
            id: id_of(bytes),
            bytes: bytes.to_vec(),
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// The root of the slot tree.
    pub fn root(&self) -> Hash {
        self.root
    }
    /// SHA-256 over label and bytes.
    pub fn id(&self) -> RecordId {
        self.id
    }
    /// The canonical bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn id_of(bytes: &[u8]) -> RecordId {
    RecordId::from_bytes(labelled(label::RECORD_ID, &[bytes]))
}
