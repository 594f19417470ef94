//! Whether values that were made up are such as a record may hold.
//!
//! [`never`](crate::never) asks before it shows a record to people: who tries values, or has a solver choose them, knows
//! little of what fields hold.

use crate::attribute::{Attribute, Given, Origin, Reading};
use entente_protocol::{
    record::{Shape, Tlp, kind::Kind, ladder::Edtf},
    value::Value,
};

/// The first attribute whose value no record of the kind has, if there is one.
pub(crate) fn unlikely(kind: Kind, reads: &[&'static Attribute], given: &[Option<Given>]) -> Option<String> {
    let of = |slot: u8, reading: Reading| {
        let at = reads.iter().position(|a| a.origin == Origin::Slot(slot, reading))?;
        Some(given.get(at)?.as_ref())
    };
    let wrong = |(attribute, value): &(&&'static Attribute, &Option<Given>)| {
        let alone = value.as_ref().is_none_or(|value| holds(kind, attribute, value));
        let Some(slot) = attribute.slot() else { return !alone };
        let dates = [Reading::Text, Reading::FirstDay, Reading::LastDay].map(|reading| of(slot, reading));
        !alone || !together(attribute.shape(kind), dates)
    };
    reads.iter().zip(given).find(wrong).map(|(attribute, _)| attribute.name.clone())
}

/// Whether a field of this shape may hold a value, seen alone.
fn holds(kind: Kind, attribute: &Attribute, value: &Given) -> bool {
    let fits = |value: Value| attribute.shape(kind).is_none_or(|shape| shape.fits(&value));
    match (attribute.origin, value) {
        (Origin::Tlp, Given::Text(text)) => Tlp::from_name(text).is_some_and(|tlp| tlp.name() == text),
        (Origin::Class, Given::Text(text)) => !text.is_empty(),
        (Origin::EuHc, Given::Longs(codes)) => codes.iter().all(|code| (0..=3).contains(code)),
        // The empty set has no type.
        (Origin::EuHc, Given::Texts(texts)) => texts.is_empty(),
        (Origin::Slot(_, Reading::TextOf(name)), Given::Text(text)) => fits(Value::map([(name, Value::text(text))])),
        (Origin::Slot(_, Reading::LongOf(name)), Given::Long(number)) => {
            fits(Value::map([(name, Value::Int(*number))]))
        }
        (Origin::Slot(_, Reading::FirstDay | Reading::LastDay), Given::Long(day)) => (0..=99_991_231).contains(day),
        (Origin::Slot(_, Reading::Finding), Given::Text(text)) => match attribute.shape(kind) {
            Some(Shape::Finding(codes)) => codes.contains(&text.as_str()),
            _ => false,
        },
        (_, Given::Text(text)) => fits(Value::text(text)),
        (_, Given::Long(number)) => fits(Value::Int(*number)),
        (_, Given::Texts(texts)) => fits(Value::Array(texts.iter().map(Value::text).collect())),
        (_, Given::Longs(numbers)) => fits(Value::Array(numbers.iter().copied().map(Value::Int).collect())),
        (_, Given::Bool(_) | Given::Organisation(_)) => true,
    }
}

/// Whether what is read of one date agrees: its text, its first day, its last. The outer `None` is what is not read.
fn together(shape: Option<Shape>, [text, first, last]: [Option<Option<&Given>>; 3]) -> bool {
    if !matches!(shape, Some(Shape::Edtf | Shape::Month | Shape::Year)) {
        return true;
    }
    let read: Vec<bool> = [text, first, last].into_iter().flatten().map(|value| value.is_some()).collect();
    let alike = read.iter().all(|present| read.first() == Some(present));
    let day = |of: Option<Option<&Given>>| if let Some(Some(Given::Long(day))) = of { Some(*day) } else { None };
    let span = match text {
        Some(Some(Given::Text(text))) => Edtf::parse(text).map(|date| date.span()),
        _ => None,
    };
    let ordered = day(first).is_none_or(|first| day(last).is_none_or(|last| first <= last));
    let spans = span.is_none_or(|(begin, end)| {
        day(first).is_none_or(|first| first == i64::from(begin)) && day(last).is_none_or(|last| last == i64::from(end))
    });
    alike && ordered && spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_record_holds_is_called_so() {
        let attribute = |name: &str| crate::attribute::attribute(Kind::Item, name).unwrap();
        let text = |text: &str| Some(Given::Text(text.to_owned()));
        let check = |names: &[&str], given: &[Option<Given>], wrong: Option<&str>| {
            let reads: Vec<_> = names.iter().map(|name| attribute(name)).collect();
            assert_eq!(unlikely(Kind::Item, &reads, given).as_deref(), wrong, "{names:?}");
        };
        check(&["make_country"], &[text("BE")], None);
        check(&["make_country"], &[text("another")], Some("make_country"));
        check(&["tlp", "type"], &[text("WHITE"), None], Some("tlp"));
        check(&["type"], &[text("pistol of a kind")], Some("type"));
        let date = ["year", "year_first", "year_last"];
        let day = |n| Some(Given::Long(n));
        check(&date, &[text("2021"), day(20_210_101), day(20_211_231)], None);
        check(&date, &[text("2021"), day(20_210_101), day(20_211_230)], Some("year"));
        check(&date[1..], &[day(20_210_102), day(20_210_101)], Some("year_first"));
        check(&date[..2], &[text("2021"), None], Some("year"));
    }
}
