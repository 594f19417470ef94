//! A draft: the only place where the fields of our own records are checked.

use super::{
    header::{HandlingFloor, Header},
    kind::{Kind, Slot},
    shape::ShapeError,
    slots::Record,
};
use crate::{
    codec::{self, Bounds, CodecError},
    id::{LineId, Nonce, OrgId},
    limits,
    value::Value,
};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A draft that cannot become a record: the fault of whoever filled it in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// No such slot.
    #[error("a record of kind `{kind}` has no field `{field}`")]
    UnknownField {
        /// The kind.
        kind: Kind,
        /// What was given.
        field: String,
    },
    /// A required slot is empty.
    #[error("a record of kind `{kind}` needs the field `{field}`")]
    Missing {
        /// The kind.
        kind: Kind,
        /// The slot's name.
        field: &'static str,
    },
    /// A value of the wrong form.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A coarser rung contradicts the finer one.
    #[error("`{coarse}` contradicts `{fine}`, from which it follows")]
    Contradiction {
        /// The coarser slot.
        coarse: &'static str,
        /// The finer slot.
        fine: &'static str,
    },
    /// A value or the whole record is beyond its bound.
    #[error("the record is too large: `{field}` has {len} bytes where at most {max} are taken")]
    TooLarge {
        /// Slot or `record`.
        field: &'static str,
        /// Bytes.
        len: usize,
        /// Bytes taken.
        max: usize,
    },
    /// The handling floor is malformed.
    #[error("the handling floor is malformed: H3 needs its text, codes rise from 0 to 3, dates are EDTF")]
    Floor,
}

/// Fields on their way to a commitment.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What kind of statement it is.
    pub kind: Kind,
    /// Who records it.
    pub originator: OrgId,
    /// The line that it belongs to: new, or that of the record it amends.
    pub line: LineId,
    /// The handling floor.
    pub floor: HandlingFloor,
    values: BTreeMap<u8, Value>,
}

impl Draft {
    /// An empty draft.
    pub fn new(kind: Kind, originator: OrgId, line: LineId, floor: HandlingFloor) -> Self {
        Self { kind, originator, line, floor, values: BTreeMap::new() }
    }

    /// Sets a field by name.
    pub fn set(&mut self, field: &str, value: Value) -> Result<&mut Self, DraftError> {
        let slot = self
            .kind
            .slot(field)
            .ok_or_else(|| DraftError::UnknownField { kind: self.kind, field: field.chars().take(80).collect() })?;
        self.set_slot(slot, value)
    }

    /// Sets a field by slot number.
    pub fn set_number(&mut self, number: u8, value: Value) -> Result<&mut Self, DraftError> {
        let slot = self
            .kind
            .slot_number(number)
            .ok_or_else(|| DraftError::UnknownField { kind: self.kind, field: number.to_string() })?;
        self.set_slot(slot, value)
    }

    fn set_slot(&mut self, slot: &'static Slot, value: Value) -> Result<&mut Self, DraftError> {
        if !slot.shape.fits(&value) {
            return Err(ShapeError { slot: slot.name, expected: slot.shape.expected() }.into());
        }
        self.values.insert(slot.number, value);
        Ok(self)
    }

    /// The value of a field, if set.
    pub fn value(&self, number: u8) -> Option<&Value> {
        self.values.get(&number)
    }

    /// Every field set so far, by rising slot.
    pub fn values(&self) -> impl Iterator<Item = (u8, &Value)> {
        self.values.iter().map(|(slot, value)| (*slot, value))
    }

    /// Checks the whole, computes the coarser rungs, and commits.
    ///
    /// `seed` is fresh for each record and never leaves the organisation; `nonce` is random.
    pub fn commit(mut self, nonce: Nonce, seed: Zeroizing<[u8; 32]>) -> Result<Record, DraftError> {
        self.climb()?;
        let kind = self.kind;
        if let Some(missing) = kind.slots().find(|s| s.required && !self.values.contains_key(&s.number)) {
            return Err(DraftError::Missing { kind, field: missing.name });
        }
        let mut values = Vec::with_capacity(self.values.len());
        let mut total = 0usize;
        for (number, value) in &self.values {
            let field = kind.slot_number(*number).map_or("record", |s| s.name);
            let bytes = codec::to_vec_of(value.encoded_bytes_max(), value, Bounds::bytes(limits::SLOT_VALUE_BYTES_MAX))
                .map_err(|fault| match fault {
                    CodecError::TooLong { len, max } => DraftError::TooLarge { field, len, max },
                    _ => ShapeError { slot: field, expected: "a value that is not nested so deeply".to_owned() }.into(),
                })?;
            total = total.saturating_add(bytes.len());
            values.push((*number, bytes));
        }
        if total > limits::RECORD_BYTES_MAX {
            return Err(DraftError::TooLarge { field: "record", len: total, max: limits::RECORD_BYTES_MAX });
        }
        let Self { originator, line, floor, .. } = self;
        let header = Header { kind, line, floor, nonce, originator };
        Record::commit(header, values, seed).map_err(|_| DraftError::Floor)
    }

    /// Computes every derived rung whose finer slot is present.
    fn climb(&mut self) -> Result<(), DraftError> {
        for slot in self.kind.slots() {
            for (finer, rule) in self.kind.finer(slot) {
                let Some(value) = self.values.get(&finer.number) else { continue };
                let computed = rule.apply(value);
                let stated = self.values.get(&slot.number);
                if stated.is_some() && stated != computed.as_ref() {
                    return Err(DraftError::Contradiction { coarse: slot.name, fine: finer.name });
                }
                if let Some(value) = computed {
                    self.values.insert(slot.number, value);
                }
            }
        }
        Ok(())
    }
}
