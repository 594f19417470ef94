//! `entente doctor`: what is well, what is not, and what to do.

use super::{
    output::{Done, Failure},
    reach::Reach,
    show::{text, truth},
    table::{Look, Table},
};
use crate::{call::Call, cli, control::client, doctor};
use serde_json::Value as Json;

/// Exit code where something is in trouble.
const TROUBLE: u8 = 5;

/// Looks at the node, or at what can be looked at.
pub fn doctor(reach: &Reach, args: &cli::Doctor) -> Result<Done, Failure> {
    let home = reach.home()?;
    let asked = reach.call(&Call::Doctor { offline: args.offline });
    let value = match asked {
        Ok(value) => value,
        // A home of nobody has no findings.
        Err(fault) if !home.exists() && !home.keys().exists() && !home.store().exists() => return Err(fault.into()),
        Err(fault) if fault.code == "socket" || client::connect(&home)?.is_some() => return Err(fault.into()),
        Err(fault) => doctor::damaged(&home, &fault),
    };
    let well = value.as_array().into_iter().flatten().all(|row| truth(row, "ok"));
    reach.output.answer(&value, || render(&value, reach.output.look))?;
    Ok(if well { Done::Well } else { Done::No(TROUBLE) })
}

fn render(value: &Json, look: Look) -> String {
    let rows = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let count = |level: &str| rows.iter().filter(|row| text(row, "level") == level).count();
    let verdict = match (count("trouble"), count("warning")) {
        (0, 0) => look.good("all is well"),
        (0, warnings) => look.strong(&format!("no trouble; {warnings} to see to")),
        (troubles, _) => look.bad(&format!("{troubles} in trouble")),
    };
    let mut table = Table::new(&["part", "is", "says", "whose", "what to do"]);
    for row in rows {
        table.row(["part", "level", "says", "whose", "do"].map(|key| text(row, key)));
    }
    format!("{verdict}\n\n{}", table.render(look))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_in_trouble_is_said_first_and_with_what_to_do() {
        let row = |level: &str, ok: bool| {
            json!({ "id": "disk", "part": "disk", "level": level, "ok": ok, "says": "full",
            "whose": "whoever runs this node", "do": "Make room." })
        };
        assert!(render(&json!([row("ok", true)]), Look::default()).starts_with("all is well"));
        assert!(render(&json!([row("warning", true)]), Look::default()).starts_with("no trouble; 1 to see to"));
        let text = render(&json!([row("trouble", false), row("ok", true)]), Look::default());
        assert!(text.starts_with("1 in trouble") && text.contains("Make room."), "{text}");
    }
}
