//! Conditions of clauses and red lines: one Cedar expression over the record's attributes.
//!
//! `check` and `compile` call it. A condition reads the record and nothing else. An attribute that
//! the author does not ask for with `has` is asked for here, so that a field that is missing
//! withholds: it makes a clause not apply and a red line hold.

use crate::attribute::{self, Attribute};
use cedar_policy::{Expression, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator, pst};
use entente_protocol::{limits, record::kind::Kind};
use std::{collections::BTreeSet, str::FromStr};

/// Depth of brackets in a condition.
const DEPTH_MAX: usize = 32;
/// Operators, members and brackets in a condition: Cedar walks it recursively.
const MARKS_MAX: usize = 512;

/// A condition that is refused: the author's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionFault {
    /// Not one Cedar expression.
    #[error("the condition is not one Cedar expression: {0}")]
    Syntax(String),
    /// Beyond a bound.
    #[error(
        "the condition is too long or too deeply nested; at most {} bytes, {DEPTH_MAX} brackets deep and {MARKS_MAX} signs are read",
        limits::CONDITION_BYTES_MAX
    )]
    TooLarge,
    /// Reads something else than the record's attributes.
    #[error("the condition reads something else than fields of the record; write `resource.` and the name of a field")]
    OutsideRecord,
    /// The kind has no such attribute.
    #[error("a record of kind `{kind}` has no field `{attribute}` that a condition may read")]
    UnknownAttribute {
        /// The kind.
        kind: Kind,
        /// What was written.
        attribute: String,
    },
    /// Does not fit the schema.
    #[error("the condition does not fit the schema for kind `{kind}`: {fault}")]
    Invalid {
        /// The kind.
        kind: Kind,
        /// What the validator says.
        fault: String,
    },
    /// Can never hold.
    #[error("the condition can never hold for kind `{kind}`")]
    Impossible {
        /// The kind.
        kind: Kind,
    },
    /// The engine itself; not the author's fault.
    #[error("the policy engine refused a policy that this program wrote")]
    Engine,
}

/// A parsed condition.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    text: String,
    reads: BTreeSet<String>,
    tested: BTreeSet<String>,
}

/// What a condition reads in one kind.
pub(crate) struct Reads {
    /// Every attribute that it reads or asks for.
    pub(crate) all: Vec<&'static Attribute>,
    /// Those whose absence is ours to handle.
    pub(crate) guarded: Vec<&'static Attribute>,
}

impl Condition {
    /// Parses a condition and finds what it reads.
    pub(crate) fn parse(text: &str) -> Result<Self, ConditionFault> {
        if !within_bounds(text) {
            return Err(ConditionFault::TooLarge);
        }
        let mut condition = Self { text: text.to_owned(), reads: BTreeSet::new(), tested: BTreeSet::new() };
        let mut walked = Ok(());
        with_tree(text, &mut |expr| walked = condition.walk(expr))?;
        walked.map(|()| condition)
    }

    /// What it reads in a kind; refuses attributes that the kind does not have.
    pub(crate) fn reads(&self, kind: Kind) -> Result<Reads, ConditionFault> {
        let mut reads = Reads { all: Vec::new(), guarded: Vec::new() };
        for name in self.reads.union(&self.tested) {
            let attribute = attribute::attribute(kind, name)
                .ok_or_else(|| ConditionFault::UnknownAttribute { kind, attribute: name.clone() })?;
            reads.all.push(attribute);
            if !self.tested.contains(name) {
                reads.guarded.push(attribute);
            }
        }
        Ok(reads)
    }

    /// As the `when` of a permit: false where a field is missing.
    pub(crate) fn permitting(&self, reads: &Reads) -> String {
        let guards: String = reads.guarded.iter().map(|a| format!("resource has {} && ", a.name)).collect();
        format!("{guards}(\n{}\n)", self.text)
    }

    /// As the `when` of a forbid: true where a field is missing.
    pub(crate) fn forbidding(&self, reads: &Reads) -> String {
        // Written so that the validator sees the guard: it does not follow `!` and `||`.
        let guards: Vec<String> = reads.guarded.iter().map(|a| format!("resource has {}", a.name)).collect();
        if guards.is_empty() {
            return self.text.clone();
        }
        format!("if {} then (\n{}\n) else true", guards.join(" && "), self.text)
    }

    /// Depth is bounded by [`within_bounds`].
    fn walk(&mut self, expr: &pst::Expr) -> Result<(), ConditionFault> {
        use pst::Expr;
        let is_record = |expr: &Expr| matches!(expr, Expr::Var(pst::Var::Resource));
        match expr {
            Expr::Literal(_) => Ok(()),
            Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => self.walk(expr),
            Expr::BinaryOp { left, right, .. } => {
                self.walk(left)?;
                self.walk(right)
            }
            Expr::GetAttr { expr, attr } if is_record(expr) => {
                self.reads.insert(attr.to_string());
                Ok(())
            }
            Expr::HasAttr { expr, attrs } if is_record(expr) => {
                self.tested.extend(attrs.iter().take(1).map(ToString::to_string));
                Ok(())
            }
            Expr::Is { expr, in_expr: None, .. } if is_record(expr) => Ok(()),
            Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } | Expr::Is { expr, in_expr: None, .. } => {
                self.walk(expr)
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.walk(cond)?;
                self.walk(then_expr)?;
                self.walk(else_expr)
            }
            Expr::Set(items) => items.iter().try_for_each(|item| self.walk(item)),
            _ => Err(ConditionFault::OutsideRecord),
        }
    }
}

/// Looks at the expression of a condition that is within bounds.
pub(crate) fn with_tree(text: &str, look: &mut dyn FnMut(&pst::Expr)) -> Result<(), ConditionFault> {
    // Parsed alone first: what is not one whole expression cannot be wrapped in brackets below.
    Expression::from_str(text).map_err(|fault| ConditionFault::Syntax(fault.to_string()))?;
    let policy = parse_policy("condition", &format!("permit(principal, action, resource) when {{\n{text}\n}};"))?;
    let tree = policy.to_pst().map_err(|fault| ConditionFault::Syntax(fault.to_string()))?;
    for clause in tree.body().clauses() {
        let (pst::Clause::When(expr) | pst::Clause::Unless(expr)) = clause;
        look(expr);
    }
    Ok(())
}

fn within_bounds(text: &str) -> bool {
    let (mut depth, mut deepest, mut marks) = (0usize, 0usize, 0usize);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        marks += usize::from(c.is_ascii_punctuation() && !matches!(c, '_' | '"' | '\''));
    }
    let words = text.split_whitespace().filter(|w| matches!(*w, "if" | "has" | "in" | "is" | "like")).count();
    text.len() <= limits::CONDITION_BYTES_MAX && deepest <= DEPTH_MAX && marks + words <= MARKS_MAX
}

/// Parses a policy and checks that printing and parsing it again gives the same policy.
pub(crate) fn parse_policy(id: &str, text: &str) -> Result<Policy, ConditionFault> {
    let syntax = |fault: cedar_policy::ParseErrors| ConditionFault::Syntax(fault.to_string());
    let policy = Policy::parse(Some(PolicyId::new(id)), text).map_err(syntax)?;
    let printed = policy.to_cedar().ok_or(ConditionFault::Engine)?;
    let again = Policy::parse(Some(PolicyId::new(id)), printed).map_err(|_| ConditionFault::Engine)?;
    if again == policy { Ok(policy) } else { Err(ConditionFault::Engine) }
}

/// Validates a policy strictly; one that can never apply is refused too, for its author meant something by it.
pub(crate) fn validate(kind: Kind, policy: &Policy) -> Result<(), ConditionFault> {
    let schema = attribute::schema().ok_or(ConditionFault::Engine)?;
    let set = PolicySet::from_policies([policy.clone()]).map_err(|_| ConditionFault::Engine)?;
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    if let Some(fault) = result.validation_errors().next() {
        return Err(ConditionFault::Invalid { kind, fault: fault.to_string() });
    }
    let never = |w: &ValidationWarning| matches!(w, ValidationWarning::ImpossiblePolicy(_));
    if result.validation_warnings().any(never) {
        return Err(ConditionFault::Impossible { kind });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> (Vec<String>, Vec<String>) {
        let reads = Condition::parse(text).unwrap().reads(Kind::Item).unwrap();
        let names = |list: &[&Attribute]| list.iter().map(|a| a.name.clone()).collect();
        (names(&reads.all), names(&reads.guarded))
    }

    #[test]
    fn what_a_condition_reads_is_found() {
        let (all, guarded) = names(
            r#"resource.make_country == "BE" && (resource has model && resource.model like "FN*") || ["x"].contains(resource.type)"#,
        );
        assert_eq!(all, ["make_country", "model", "type"]);
        assert_eq!(guarded, ["make_country", "type"]);
    }

    #[test]
    fn what_is_not_one_expression_over_the_record_is_refused() {
        for text in [
            "",
            "true) || (true",
            r#"resource.type == "pistol" }; permit(principal, action, resource) when { true"#,
            "resource.type ==",
        ] {
            assert!(matches!(Condition::parse(text), Err(ConditionFault::Syntax(_))), "{text}");
        }
        for text in [
            r#"principal == Organisation::"aa""#,
            "context.x == 1",
            r#"resource == Item::"record""#,
            r#"resource in Organisation::"aa""#,
        ] {
            assert!(matches!(Condition::parse(text), Err(ConditionFault::OutsideRecord)), "{text}");
        }
        let unknown = Condition::parse("resource.bore == 1").unwrap().reads(Kind::Item);
        assert!(matches!(unknown, Err(ConditionFault::UnknownAttribute { .. })));
    }

    #[test]
    fn a_comment_cannot_swallow_the_bracket_after_it() {
        let condition = Condition::parse("resource.type == \"pistol\" // only these").unwrap();
        let text = condition.permitting(&condition.reads(Kind::Item).unwrap());
        let policy = parse_policy("p", &format!("permit(principal, action, resource is Item) when {{ {text} }};"));
        assert!(policy.is_ok());
    }

    #[test]
    fn long_and_deep_conditions_are_bounded() {
        let deep = format!("{}true{}", "(".repeat(DEPTH_MAX), ")".repeat(DEPTH_MAX));
        assert!(Condition::parse(&deep).is_ok());
        for text in [
            format!("({deep})"),
            format!("true{}", " && true".repeat(300)),
            " ".repeat(limits::CONDITION_BYTES_MAX + 1),
        ] {
            assert_eq!(Condition::parse(&text).err(), Some(ConditionFault::TooLarge));
        }
        // The widest that is let through is parsed, printed and walked without harm.
        assert!(Condition::parse(&format!("true{}", " && true".repeat(250))).is_ok());
    }
}
