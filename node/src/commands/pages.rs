//! `entente completions` and `entente man`: both made from the definitions, so they cannot be out of date.

use super::{
    output::{Done, Failure},
    reach::Reach,
    table::pairs,
};
use crate::{
    cli::{self, Cli},
    error::Fault,
};
use clap::CommandFactory;
use serde_json::json;
use std::fs;

/// Prints a completion script.
pub fn completions(reach: &Reach, args: &cli::Completions) -> Result<Done, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "entente", &mut script);
    reach.output.text(&String::from_utf8_lossy(&script))?;
    Ok(Done::Well)
}

/// Prints the page of the program, or writes a page for each command.
pub fn man(reach: &Reach, args: &cli::Man) -> Result<Done, Failure> {
    let Some(folder) = &args.output else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        reach.output.text(&String::from_utf8_lossy(&page))?;
        return Ok(Done::Well);
    };
    let refuse = |e: std::io::Error| Fault::input("write", format!("`{}` cannot be written: {e}", folder.display()));
    fs::create_dir_all(folder).map_err(refuse)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(refuse)?;
    let written = json!({ "folder": folder.display().to_string() });
    reach.output.answer(&written, || pairs([("pages in", folder.display().to_string())], reach.output.look))?;
    Ok(Done::Well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_each_command() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        clap_mangen::generate_to(Cli::command(), folder.path())?;
        for page in ["entente.1", "entente-import.1", "entente-partner-add.1"] {
            let text = fs::read_to_string(folder.path().join(page))?;
            assert!(text.contains("Example"), "{page}");
        }
        Ok(())
    }

    #[test]
    fn completions_know_commands_and_kinds() {
        let mut script = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut Cli::command(), "entente", &mut script);
        let script = String::from_utf8_lossy(&script);
        assert!(script.contains("agreement") && script.contains("post-delivery-check"));
    }
}
