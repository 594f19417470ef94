//! Agreements to begin with: the usual cases, with parties, dates and a country filled in.
//!
//! A template is text like any other, which people change and look at before they sign it. What is filled in is checked
//! here, so that nobody begins with a draft that is refused.

use super::AgreementError;
use crate::{country, node::Node};
use entente_policy::{
    check,
    source::{self, Drafting},
};
use entente_protocol::{
    id::AgreementId,
    time::{DAY_MS, UnixMillis},
};
use serde_json::{Value as Json, json};

/// One usual case.
struct Template {
    name: &'static str,
    /// What it gives, in a sentence.
    about: &'static str,
    /// What a country means in it; none where it asks for none.
    country: Option<&'static str>,
    text: &'static str,
}

const TEMPLATES: [Template; 4] = [
    Template {
        name: "panel",
        about: "Weapons, cases and photographs for a panel of experts; places and days stay coarse",
        country: None,
        text: include_str!("templates/panel.toml"),
    },
    Template {
        name: "maker",
        about: "A state learns of the weapons that were made there",
        country: Some("in which the weapons were made"),
        text: include_str!("templates/maker.toml"),
    },
    Template {
        name: "host",
        about: "A state learns of the cases on its territory, by month and region",
        country: Some("in which the cases lie"),
        text: include_str!("templates/host.toml"),
    },
    Template {
        name: "tracing",
        about: "Two offices give each other what identifies a weapon, and neither place nor day nor person",
        country: None,
        text: include_str!("templates/tracing.toml"),
    },
];

/// What stands in every template for the date of what the agreement rests on, which only people know.
const PLACEHOLDER: &str = "(put its date here)";

/// Whether a legal basis is still the template's.
pub(super) fn is_placeholder(basis: &str) -> bool {
    basis.contains(PLACEHOLDER)
}

/// For how long a new agreement is drafted: two years, which people change as they like.
const YEARS_MS: u64 = 2 * 365 * DAY_MS;

/// The usual cases.
pub fn templates() -> Json {
    let rows = TEMPLATES
        .iter()
        .map(|template| json!({ "id": template.name, "about": template.about, "country": template.country.is_some() }));
    rows.collect()
}

/// A draft between us and a partner.
pub fn draft(node: &Node, name: &str, partner: &str, country: Option<&str>) -> Result<Json, AgreementError> {
    let known = || TEMPLATES.map(|template| template.name).join(", ");
    let template = TEMPLATES.iter().find(|template| template.name == name);
    let template = template
        .ok_or_else(|| AgreementError::Template(format!("there is none of that name; there are {}", known())))?;
    let country = match (template.country, country) {
        (None, None) => String::new(),
        (None, Some(_)) => return Err(AgreementError::Template(format!("`{name}` asks for no country: leave it out"))),
        (Some(which), given) => given.and_then(country::country).map(str::to_owned).ok_or_else(|| {
            let unknown = given.map(|given| format!("`{}` is no country; ", given.escape_debug())).unwrap_or_default();
            let what = format!("{unknown}`{name}` needs the country {which}, by its ISO 3166 code: --country TD");
            AgreementError::Template(what)
        })?,
    };
    let book = node.book();
    let (them, partner) = book.find(partner).map_err(|e| AgreementError::Template(e.to_string()))?;
    let from = UnixMillis(node.interval().early.0);
    let filled = [
        ("{us}", node.config.handle.as_str()),
        ("{us-name}", &quoted(&node.config.name)),
        ("{them}", partner.handle.as_str()),
        ("{them-name}", &quoted(&partner.card.payload().name)),
        ("{from}", &from.date()),
        ("{until}", &from.plus(YEARS_MS).date()),
        ("{country}", &country),
    ];
    // In one pass: what is filled in is not looked at again.
    let text = fill(template.text, &filled);
    let party = |handle: &str| match handle == node.config.handle {
        true => Some(node.keys.org),
        false => (handle == partner.handle).then_some(them),
    };
    let drafted = source::parse(&text, &Drafting { id: AgreementId::from_bytes([0; 16]), party: &party });
    let fault = |fault| AgreementError::Source { path: format!("template {name}"), fault };
    check::check(drafted.map_err(fault)?.agreement)?;
    Ok(json!({ "template": name, "partner": partner.handle, "text": text }))
}

/// A name as it stands between quotes.
fn quoted(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}

fn fill(template: &str, with: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 200);
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match with.iter().find(|(place, _)| from.starts_with(place)) {
            Some((place, value)) => {
                out.push_str(value);
                rest = from.strip_prefix(place).unwrap_or_default();
            }
            None => {
                out.push('{');
                rest = from.strip_prefix('{').unwrap_or_default();
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::{TEMPLATES, fill, is_placeholder};

    #[test]
    fn what_is_filled_in_is_not_filled_again() {
        assert_eq!(fill("a = { b = \"{us}\" }", &[("{us}", "{them}"), ("{them}", "x")]), "a = { b = \"{them}\" }");
    }

    #[test]
    fn every_template_leaves_its_legal_basis_to_people() {
        for template in TEMPLATES {
            let basis = template.text.lines().find(|line| line.starts_with("basis = "));
            assert!(basis.is_some_and(is_placeholder), "{}", template.name);
        }
    }

    #[test]
    fn a_template_asks_for_a_country_where_it_has_one() {
        for template in TEMPLATES {
            assert_eq!(template.country.is_some(), template.text.contains("{country}"), "{}", template.name);
            assert!(!template.about.ends_with('.'), "{}", template.name);
        }
    }
}
