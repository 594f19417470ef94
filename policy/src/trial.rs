//! Records to try conditions with: the values that conditions can tell apart, and whether these are all.
//!
//! [`analysis`](crate::analysis) and [`never`](crate::never) try clauses and red lines with them, within one [`Budget`] for
//! a whole call. A form of condition that no few values cover (`like`, arithmetic, one field against another) is tried
//! with what the text names, and then nothing says that this was all.

use crate::{
    attribute::{Attribute, Given, Origin, Reading},
    condition,
    set::Slice,
};
use cedar_policy::pst::{BinaryOp, Expr, Literal, UnaryOp, Var};
use entente_protocol::{
    id::OrgId,
    record::{Shape, Tlp, kind::Kind},
    value::Value,
};
use std::collections::{BTreeMap, BTreeSet};

/// Decisions of one call. One takes about a tenth of a millisecond, and some milliseconds over as many clauses as there
/// may be: a check that somebody waits for ends in seconds, and one of the largest agreement in minutes.
pub const DECISIONS_MAX: usize = 200_000;
/// Records that are tried of one slice.
pub(crate) const TRIED_MAX: usize = 20_000;
/// Values of one attribute: more than there are member states in any list of countries that agreements name.
const VALUES_MAX: usize = 64;
/// Codes that are all tried, whatever a condition says of them.
const CODES_MAX: usize = 12;
/// Members of a set that are tried in all combinations, and with another member beside.
const MEMBERS_MAX: usize = 4;
/// Dates that are tried in the place of one that cannot be.
const DATES_MAX: usize = 200;

/// What one call may still decide.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(DECISIONS_MAX)
    }
}

impl Budget {
    /// So many decisions.
    pub fn of(decisions: usize) -> Self {
        Self { left: decisions }
    }

    /// Records of one of `parts` that are still to be tried, where each takes so many decisions. What one part leaves over
    /// goes to the others.
    pub(crate) fn share(&self, parts: usize, decisions: usize) -> usize {
        (self.left / parts.max(1) / decisions.max(1)).min(TRIED_MAX)
    }

    /// Takes one decision; false where none is left.
    pub(crate) fn spend(&mut self) -> bool {
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }
}

/// Values for each attribute that the policies of a slice read.
pub(crate) struct Trial {
    lists: Vec<Vec<Option<Given>>>,
    exact: bool,
}

impl Trial {
    pub(crate) fn new(kind: Kind, slice: &Slice, texts: &[&str]) -> Self {
        let (uses, named) = (uses(texts), literals(texts));
        let (mut lists, mut exact) = (Vec::new(), true);
        for attribute in slice.engine.reads() {
            let odd = Uses { odd: true, ..Uses::default() };
            let (list, whole) = values(kind, attribute, uses.get(&attribute.name).unwrap_or(&odd), &named);
            lists.push(list);
            exact &= whole;
        }
        Self { lists, exact }
    }

    /// Records, each once where there are few, else so many drawn from a fixed seed; whether these are all that the
    /// conditions can tell apart.
    pub(crate) fn records(&self, most: usize) -> (Box<dyn Iterator<Item = Vec<Option<Given>>> + '_>, bool) {
        let total = self.lists.iter().try_fold(1usize, |total, list| total.checked_mul(list.len().max(1)));
        match total {
            Some(total) if total <= most => (Box::new((0..total as u64).map(|n| self.at(n))), self.exact),
            _ => {
                // Splitmix64 (Steele, Lea, Flood, 2014), from a fixed seed: the same agreement is found to say the same.
                let mut state = 0u64;
                let mut next = move || {
                    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mut z = state;
                    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    z ^ (z >> 31)
                };
                let drawn =
                    (0..most).map(move |_| self.lists.iter().map(|list| pick(list, next())).collect::<Vec<_>>());
                (Box::new(drawn), false)
            }
        }
    }

    /// One of all combinations.
    fn at(&self, mut number: u64) -> Vec<Option<Given>> {
        let mut picked = Vec::with_capacity(self.lists.len());
        for list in &self.lists {
            picked.push(pick(list, number));
            number /= (list.len() as u64).max(1);
        }
        picked
    }
}

fn pick(list: &[Option<Given>], number: u64) -> Option<Given> {
    let at = usize::try_from(number % (list.len() as u64).max(1)).unwrap_or_default();
    list.get(at).cloned().flatten()
}

/// Whose record is asked about stands first where a condition reads it.
pub(crate) fn fill(slice: &Slice, own: OrgId, mut given: Vec<Option<Given>>) -> Vec<Option<Given>> {
    for (attribute, value) in slice.engine.reads().iter().zip(&mut given) {
        if attribute.origin == Origin::Originator {
            *value = Some(Given::Organisation(own));
        }
    }
    given
}

/// What conditions say of one attribute.
#[derive(Default)]
struct Uses {
    /// What it is compared with, or may have among its members.
    texts: BTreeSet<String>,
    numbers: BTreeSet<i64>,
    /// Whether it is read in a form that these do not cover.
    odd: bool,
}

/// By the names of attributes. One that is not in it was not understood.
fn uses(texts: &[&str]) -> BTreeMap<String, Uses> {
    let mut found = BTreeMap::new();
    for text in texts {
        // What does not parse reads attributes that are then not found here.
        if condition::with_tree(text, &mut |expr| walk(expr, true, &mut found)).is_err() {
            return BTreeMap::new();
        }
    }
    found
}

/// Conditions are bounded in depth.
fn walk(expr: &Expr, plain: bool, found: &mut BTreeMap<String, Uses>) {
    if plain && let Some((name, literals)) = compared(expr) {
        let uses = found.entry(name).or_default();
        for literal in literals {
            match literal {
                Literal::String(text) => _ = uses.texts.insert(text.to_string()),
                Literal::Long(number) => _ = uses.numbers.insert(number),
                _ => {}
            }
        }
        return;
    }
    match expr {
        // A field that stands alone, as one of yes or no does, or within what was not understood.
        Expr::GetAttr { .. } => {
            if let Some(name) = attribute(expr) {
                found.entry(name).or_default().odd = true;
            }
        }
        Expr::HasAttr { attrs, .. } => {
            attrs.iter().take(1).for_each(|name| _ = found.entry(name.to_string()).or_default());
        }
        Expr::UnaryOp { op, expr } => walk(expr, plain && *op == UnaryOp::Not, found),
        Expr::BinaryOp { op, left, right } => {
            let plain = plain && matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Eq | BinaryOp::NotEq);
            walk(left, plain, found);
            walk(right, plain, found);
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            [cond, then_expr, else_expr].into_iter().for_each(|part| walk(part, plain, found));
        }
        Expr::Like { expr, .. } => walk(expr, false, found),
        Expr::Set(items) => items.iter().for_each(|item| walk(item, false, found)),
        _ => {}
    }
}

/// An attribute that an expression holds against literals, in a way that depends only on which of them it is, lies between
/// or has among its members.
fn compared(expr: &Expr) -> Option<(String, Vec<Literal>)> {
    if let Expr::UnaryOp { op: UnaryOp::IsEmpty, expr } = expr {
        return Some((attribute(expr)?, Vec::new()));
    }
    let Expr::BinaryOp { op, left, right } = expr else { return None };
    let of = |attr: &Expr, other: &Expr| Some((attribute(attr)?, literals_of(other)?));
    match op {
        BinaryOp::Eq
        | BinaryOp::NotEq
        | BinaryOp::Less
        | BinaryOp::LessEq
        | BinaryOp::Greater
        | BinaryOp::GreaterEq => {
            let single = |expr: &Expr| !matches!(expr, Expr::Set(_));
            of(left, right).or_else(|| of(right, left)).filter(|_| single(left) && single(right))
        }
        BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
            of(left, right).or_else(|| of(right, left))
        }
        _ => None,
    }
}

/// The attribute of the record that an expression is.
fn attribute(expr: &Expr) -> Option<String> {
    match expr {
        Expr::GetAttr { expr, attr } if matches!(&**expr, Expr::Var(Var::Resource)) => Some(attr.to_string()),
        _ => None,
    }
}

/// A literal, or a list of them.
fn literals_of(expr: &Expr) -> Option<Vec<Literal>> {
    match expr {
        Expr::Literal(literal) => Some(vec![literal.clone()]),
        Expr::UnaryOp { op: UnaryOp::Neg, expr } => match &**expr {
            Expr::Literal(Literal::Long(number)) => Some(vec![Literal::Long(number.checked_neg()?)]),
            _ => None,
        },
        Expr::Set(items) => {
            let all = items.iter().map(|item| literals_of(item).filter(|_| !matches!(&**item, Expr::Set(_))));
            Some(all.collect::<Option<Vec<_>>>()?.concat())
        }
        _ => None,
    }
}

/// Values that literals in conditions give to an attribute, in whatever form, and none.
pub(crate) fn candidates(kind: Kind, attribute: &Attribute, texts: &[&str]) -> Vec<Option<Given>> {
    values(kind, attribute, &Uses { odd: true, ..Uses::default() }, &literals(texts)).0
}

/// Values of an attribute, and none; whether they stand for all that there are. `named` are the literals of all conditions.
fn values(
    kind: Kind,
    attribute: &Attribute,
    uses: &Uses,
    named: &(Vec<String>, Vec<i64>),
) -> (Vec<Option<Given>>, bool) {
    let texts: Vec<String> = if uses.odd { named.0.clone() } else { uses.texts.iter().cloned().collect() };
    let numbers: Vec<i64> = if uses.odd { named.1.clone() } else { uses.numbers.iter().copied().collect() };
    let text = |text: &str| Given::Text(text.to_owned());
    let mut exact = !uses.odd;
    let mut some: Vec<Given> = match attribute.origin {
        // Only our own records are decided about.
        Origin::Originator => return (Vec::new(), true),
        Origin::Orcon => return (vec![Some(Given::Bool(false)), Some(Given::Bool(true))], true),
        Origin::EuHc => {
            let (sets, _) = sets(&[0, 1, 2], &3);
            return (sets.into_iter().map(|codes| Some(Given::Longs(codes))).collect(), true);
        }
        Origin::Slot(_, Reading::LongOf(_)) => {
            exact = true;
            (1..=4).map(Given::Long).collect()
        }
        Origin::Slot(_, Reading::TextOf("src4")) => {
            exact = true;
            ["A", "B", "C", "X"].map(text).to_vec()
        }
        Origin::Slot(_, Reading::TextOf(_)) => {
            exact = true;
            grades().map(Given::Text).collect()
        }
        Origin::Slot(_, Reading::Bool) => {
            exact = true;
            vec![Given::Bool(false), Given::Bool(true)]
        }
        Origin::Tlp => {
            exact = true;
            [Tlp::Red, Tlp::AmberStrict, Tlp::Amber, Tlp::Green, Tlp::Clear].map(|tlp| text(tlp.name())).to_vec()
        }
        Origin::Slot(_, Reading::Text | Reading::Finding)
            if let Some(Shape::Code(codes) | Shape::Finding(codes)) = attribute.shape(kind) =>
        {
            let few = codes.len() <= CODES_MAX || (uses.odd && codes.len() <= VALUES_MAX);
            exact |= few;
            let is_named = |code: &&str| texts.iter().any(|text| text == code);
            let unnamed = codes.iter().find(|code| !is_named(code));
            codes.iter().filter(|code| few || is_named(code)).chain(unnamed.filter(|_| !few)).map(|c| text(c)).collect()
        }
        Origin::Class | Origin::Slot(_, Reading::Text | Reading::Finding) => {
            let other = usual(attribute.shape(kind)).into_iter().find(|other| !texts.contains(other));
            let other = other.unwrap_or_else(|| unlike(&texts));
            texts.into_iter().chain([other]).map(Given::Text).collect()
        }
        Origin::Slot(_, Reading::Long | Reading::FirstDay | Reading::LastDay) => {
            let around = numbers.iter().flat_map(|n| [n.saturating_sub(1), *n, n.saturating_add(1)]).chain([0]);
            around.collect::<BTreeSet<i64>>().into_iter().map(Given::Long).collect()
        }
        Origin::Slot(_, Reading::Texts) => {
            let other = unlike(&texts);
            let (sets, all) = sets(&texts, &other);
            exact &= all;
            sets.into_iter().map(Given::Texts).collect()
        }
        Origin::Slot(_, Reading::Longs) => {
            let other = numbers.iter().max().map_or(0, |most| most.saturating_add(1));
            let (sets, all) = sets(&numbers, &other);
            exact &= all;
            sets.into_iter().map(Given::Longs).collect()
        }
    };
    exact &= some.len() <= VALUES_MAX;
    some.truncate(VALUES_MAX);
    ([None].into_iter().chain(some.into_iter().map(Some)).collect(), exact)
}

/// Sets with some of these members, and with another; whether these are all that `contains` can tell apart.
fn sets<T: Clone>(members: &[T], other: &T) -> (Vec<Vec<T>>, bool) {
    let all: Vec<T> = members.iter().chain([other]).cloned().collect();
    if members.len() > MEMBERS_MAX {
        let each = all.iter().map(|member| vec![member.clone()]);
        return (each.chain([Vec::new(), members.to_vec()]).collect(), false);
    }
    let chosen = |bits: usize| {
        let among = all.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1);
        among.map(|(_, member)| member.clone()).collect()
    };
    ((0..1usize << all.len()).map(chosen).collect(), true)
}

/// Texts of a shape that does not hold any: "another" is no country.
fn usual(shape: Option<Shape>) -> Vec<String> {
    let texts: &[&str] = match shape {
        Some(Shape::Country) => &["XX", "QZ", "XA"],
        Some(Shape::Edtf | Shape::Month) => &["2020-02", "2019-03"],
        Some(Shape::Year) => &["2020", "2019"],
        _ => &[],
    };
    texts.iter().filter(|text| shape.is_some_and(|s| s.fits(&Value::text(**text)))).map(|t| (*t).to_owned()).collect()
}

/// Every grade of the admiralty's scale.
pub(crate) fn grades() -> impl Iterator<Item = String> {
    ('A'..='F').flat_map(|source| ('1'..='6').map(move |information| format!("{source}{information}")))
}

/// A text that is none of these.
fn unlike(texts: &[String]) -> String {
    let mut other = "another".to_owned();
    while texts.contains(&other) {
        other.push('x');
    }
    other
}

/// Texts in quotes, patterns among them with something for each `*`, and whole numbers.
pub(crate) fn literals(texts: &[&str]) -> (Vec<String>, Vec<i64>) {
    let (mut strings, mut numbers): (BTreeSet<String>, BTreeSet<i64>) = Default::default();
    for text in texts {
        for (n, part) in text.split('"').enumerate() {
            if n % 2 == 1 {
                strings.insert(part.replace('*', "x"));
                strings.insert(part.replace('*', ""));
            } else {
                let digits = part.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
                numbers.extend(digits.filter_map(|digits| digits.parse::<i64>().ok()));
            }
        }
    }
    (strings.into_iter().collect(), numbers.into_iter().collect())
}

/// Dates that are named, as text or as a number of a day, and those around them.
pub(crate) fn dates(texts: &[&str]) -> Vec<String> {
    let (strings, numbers) = literals(texts);
    let mut dates: BTreeSet<String> = strings.into_iter().collect();
    for day in numbers.into_iter().filter(|day| (10_000..=99_991_231).contains(day)) {
        for year in [day / 10_000 - 1, day / 10_000, day / 10_000 + 1] {
            dates.extend([format!("{year:04}"), format!("{year:04}-{:02}", day / 100 % 100)]);
            dates.extend([-1, 0, 1].map(|by| format!("{year:04}-{:02}-{:02}", day / 100 % 100, day % 100 + by)));
        }
    }
    dates.extend(["2020", "2020-02", "2020-02-03"].map(str::to_owned));
    dates.into_iter().take(DATES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute;

    fn of(name: &str, kind: Kind, when: &str) -> (usize, bool) {
        let attribute = attribute::attribute(kind, name).unwrap();
        let texts = [when];
        let (list, exact) = values(kind, attribute, &uses(&texts)[name], &literals(&texts));
        (list.len(), exact)
    }

    #[test]
    fn values_are_all_only_where_they_stand_for_all() {
        let item = |name: &str, when: &str| of(name, Kind::Item, when);
        // None, the two, and another.
        assert_eq!(item("model", r#"["FN", "HP"].contains(resource.model)"#), (4, true));
        assert_eq!(item("model", r#"!(resource has model) || "FN" == resource.model"#), (3, true));
        assert_eq!(item("bore_um", "resource.bore_um > 5 && resource.bore_um <= 9"), (8, true));
        // However a condition reads a field of yes or no, or a label, all of it is tried.
        assert_eq!(of("poc", Kind::Party, "resource.poc == (resource.country == \"BE\")"), (3, true));
        assert_eq!(item("tlp", r#"resource.tlp like "AMBER*""#), (6, true));
        for (name, when) in [
            ("model", r#"resource.model like "FN*""#),
            ("model", r#"resource.model == resource.make"#),
            ("model", r#"(if resource.orcon then resource.model else "A") == "B""#),
            ("bore_um", "resource.bore_um * 7 == 126"),
            ("bore_um", "resource.bore_um > 5 + 5"),
            ("bore_um", "resource.bore_um + 1 > 5 && resource.bore_um > 5"),
        ] {
            assert!(!item(name, when).1, "{when}");
        }
        let many: Vec<String> = (0..VALUES_MAX).map(|n| format!("\"M{n}\"")).collect();
        assert_eq!(item("model", &format!("[{}].contains(resource.model)", many.join(", "))), (VALUES_MAX + 1, false));
    }

    #[test]
    fn members_of_sets_are_tried_in_all_combinations_while_they_are_few() {
        let check = |when: &str, expected: (usize, bool)| {
            assert_eq!(of("methods", Kind::DiversionCase, when), expected, "{when}");
        };
        check(r#"resource.methods.contains("a") && !resource.methods.contains("b")"#, (1 + 8, true));
        check(r#"resource.methods.containsAll(["a", "b"]) || resource.methods.isEmpty()"#, (1 + 8, true));
        check(r#"resource.methods == ["a"]"#, (1 + 4, false));
        let five: Vec<String> = (0..5).map(|n| format!("resource.methods.contains(\"{n}\")")).collect();
        check(&five.join(" && "), (1 + 8, false));
    }

    #[test]
    fn a_budget_is_shared_and_ends() {
        let mut budget = Budget::of(10);
        assert_eq!((budget.share(2, 1), budget.share(1, 2), budget.share(11, 1)), (5, 5, 0));
        assert_eq!((0..12).filter(|_| budget.spend()).count(), 10);
        assert_eq!(Budget::default().share(1, 1), TRIED_MAX);
    }
}
