//! `entente redline`: what this organisation never does, whatever it signed.

use super::{
    output::{Done, Failure},
    reach::{Reach, absolute},
    show::text,
    table::Table,
};
use crate::{call::Call, cli};
use serde_json::Value as Json;

/// Carries out a command about red lines.
pub fn redline(reach: &Reach, command: cli::Redline) -> Result<Done, Failure> {
    let (value, empty) = match command {
        cli::Redline::Check { file } => {
            (reach.call(&Call::RedLineCheck(absolute(&file)?))?, "this is well-formed and holds no red line")
        }
        cli::Redline::List => (
            reach.call(&Call::RedLineList)?,
            "no red lines: name a file or folder of them as `red-lines` in entente.toml",
        ),
    };
    reach.output.listing(&value, &table(&value), empty)?;
    Ok(Done::Well)
}

fn table(lines: &Json) -> Table {
    let mut table = Table::new(&["name", "forbids", "kinds", "to", "file", "when"]);
    for line in lines.as_array().into_iter().flatten() {
        table.row(["id", "forbids", "kinds", "to", "file", "when"].map(|key| text(line, key)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::Look;
    use serde_json::json;

    #[test]
    fn red_lines_are_listed_with_what_they_read() {
        let value = json!([{ "id": "no persons", "forbids": "release", "kinds": ["party"], "to": ["all"],
            "when": "resource.ptype == \"person\"", "file": "/h/redlines/a.toml" }]);
        let text = table(&value).render(Look::default());
        assert!(
            text.contains("no persons  release  party  all  /h/redlines/a.toml  resource.ptype == \"person\""),
            "{text}"
        );
    }
}
