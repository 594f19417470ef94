//! The page of a package for people: what each record shows and what proves it. One file, no script, nothing fetched.
//!
//! It proves nothing: it is bound by the package's signature like every part, and `entente verify` reads the parts and not
//! the page. Whatever it shows was escaped; small pictures stand in it, others beside it.

use super::{
    gather::{Chosen, File, Gathered},
    name_of,
};
use crate::{error::Fault, node::Node, records::view, share::files};
use base64::{Engine, engine::general_purpose::STANDARD};
use entente_protocol::{id::OrgId, limits, package::Name, time::UnixMillis};
use std::{collections::BTreeSet, fmt::Write, io::Read};

/// Pictures up to so many bytes stand in the page itself, so that it can be read alone.
const INLINE_BYTES_MAX: u64 = 48 << 10;
/// All of them together.
const INLINE_TOTAL_MAX: u64 = 8 << 20;
/// From here on records are only named: their fields stand in the package all the same.
const PAGE_BYTES_MAX: usize = limits::PACKAGE_SUMMARY_BYTES_MAX - (1 << 20) - 2 * INLINE_TOTAL_MAX as usize;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' data: file:; style-src 'unsafe-inline'\">\n\
<meta name=\"referrer\" content=\"no-referrer\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Evidence package</title>\n<style>\n\
body{font:16px/1.45 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:52rem;margin:2rem auto;padding:0 1rem}\n\
h1{font-size:1.6rem}h2{font-size:1.15rem;border-top:1px solid #999;padding-top:1rem;margin-top:2rem}\n\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;overflow-wrap:anywhere}\n\
th{font-weight:600;width:12rem}code{font-size:.85em;overflow-wrap:anywhere}img{max-width:100%;max-height:24rem;margin:.6rem 0}\n\
.gone{border:2px solid #a00;padding:.4rem .8rem;color:#a00}.small{color:#555;font-size:.9rem}\n\
@media print{body{max-width:none;margin:0;font-size:11pt}section{break-inside:avoid}a{color:inherit}}\n\
</style>\n</head>\n<body>\n";

/// What the page is made of.
pub struct Page<'a> {
    /// The maker.
    pub node: &'a Node,
    /// What is in the package.
    pub gathered: &'a Gathered,
    /// Who has a card in it.
    pub orgs: &'a BTreeSet<OrgId>,
    /// When it is made.
    pub made: UnixMillis,
}

/// Text that is nothing but text, wherever it stands.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("<br>"),
            // What does not show, or turns the line round, is shown as what it is.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}') =>
            {
                out.extend(c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

fn row(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(value));
}

impl Page<'_> {
    /// The whole page.
    pub fn html(&self) -> Result<String, Fault> {
        let mut out = HEAD.to_owned();
        let maker = name_of(self.node, self.node.keys.org);
        let records = self.gathered.records.len();
        let _ = writeln!(
            out,
            "<h1>Evidence package</h1>\n<p>Made by <strong>{}</strong> on {}: {records} record(s).</p>\n\
             <p class=\"small\">This page is for reading and proves nothing by itself. <code>entente verify FILE</code> checks \
             the whole file without a network, and says what is proved, by whom and since when.</p>",
            escaped(&maker),
            self.made
        );
        self.organisations(&mut out);
        let mut inline = INLINE_TOTAL_MAX;
        for (n, record) in (1u32..).zip(&self.gathered.records) {
            self.record(&mut out, n, record, &mut inline)?;
        }
        out.push_str("</body>\n</html>\n");
        Ok(out)
    }

    fn organisations(&self, out: &mut String) {
        out.push_str(
            "<h2>Organisations</h2>\n<p class=\"small\">Compare the twelve words with each organisation by a way that you \
             trust: only that shows that a card is theirs.</p>\n<table>\n",
        );
        let book = self.node.book();
        for org in self.orgs {
            let own = (*org == self.node.keys.org).then_some(&*self.node.keys.card);
            if let Some(card) = own.or_else(|| book.card(*org)) {
                row(out, &card.payload().name, &card.words().to_string());
            }
        }
        out.push_str("</table>\n");
    }

    fn record(&self, out: &mut String, n: u32, record: &Chosen, inline: &mut u64) -> Result<(), Fault> {
        let header = record.shown.header();
        let number = record.shown.value(0).and_then(|value| value.as_text()).unwrap_or("without number");
        let _ = writeln!(out, "<section>\n<h2>{n}. {} ({})</h2>", escaped(number), header.kind.name());
        if out.len() > PAGE_BYTES_MAX {
            out.push_str("<p class=\"small\">The page is full: its fields stand in the package.</p>\n</section>\n");
            return Ok(());
        }
        let standing = record.part.standing;
        if !standing.state.stands() {
            let _ = writeln!(out, "<p class=\"gone\">{}, known since {}</p>", standing.state.name(), standing.at);
        }
        if let Some(file) = &record.file {
            self.picture(out, file, number, inline)?;
        }
        out.push_str("<table>\n");
        for slot in record.shown.slots() {
            if let Some(field) = header.kind.slot_number(slot.opening.slot) {
                row(out, field.name, &view::text_of(field, &slot.value));
            }
        }
        out.push_str("</table>\n<table class=\"small\">\n");
        row(out, "recorded by", &name_of(self.node, header.originator));
        row(out, "attested", &record.attested.to_string());
        for carried in &record.part.runs {
            if let Some(run) = self.gathered.runs.get((carried.run as usize).wrapping_sub(1)) {
                let [from, to] = [run.feed.sender, run.feed.receiver].map(|org| name_of(self.node, org));
                row(out, "sent", &format!("from {from} to {to}"));
            }
        }
        if standing.state.stands() {
            let amended = if standing.state.name() == "amended" { "a newer record takes its place; " } else { "" };
            row(out, "standing", &format!("{amended}no withdrawal known as of {}", standing.at));
        }
        if let Some(tlp) = header.floor.tlp {
            row(out, "handling", &format!("TLP:{}", tlp.name()));
        }
        row(out, "record", &record.id.to_string());
        out.push_str("</table>\n</section>\n");
        Ok(())
    }

    fn picture(&self, out: &mut String, file: &File, number: &str, inline: &mut u64) -> Result<(), Fault> {
        let Name::File(_, ending) = file.name else { return Ok(()) };
        let path = file.name.to_string();
        let Some(media) = ending.picture() else {
            let _ = writeln!(out, "<p>File: <a href=\"{path}\">{path}</a>, {} bytes</p>", file.row.size);
            return Ok(());
        };
        let alt = escaped(&format!("picture of record {number}"));
        if file.row.size > INLINE_BYTES_MAX || file.row.size > *inline {
            let _ = writeln!(out, "<p><img src=\"{path}\" alt=\"{alt}\"></p>");
            return Ok(());
        }
        *inline -= file.row.size;
        let mut bytes = Vec::new();
        let reader = files::open(self.node, file.partition, &file.row)?;
        reader.take(INLINE_BYTES_MAX).read_to_end(&mut bytes).map_err(Fault::store)?;
        let _ = writeln!(out, "<p><img src=\"data:{media};base64,{}\" alt=\"{alt}\"></p>", STANDARD.encode(&bytes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn text_stays_text() {
        let hostile = "<script>alert('x')</script>\"&\u{202e}\u{7}\nb";
        let safe = escaped(hostile);
        assert_eq!(safe, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;\\u{202e}\\u{7}<br>b");
    }
}
