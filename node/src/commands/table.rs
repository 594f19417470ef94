//! Tables for people: columns aligned by what a terminal shows, the last one cut to fit.
//!
//! Cells are made harmless here ([`plain::line`]), so a caller cannot forget it.

use super::plain;
use anstyle::{AnsiColor, Style};
use dialoguer::console::measure_text_width;

/// Columns that the last column gets at least, however narrow the terminal is.
const LAST_MIN: usize = 12;
const GAP: &str = "  ";

/// How a table is drawn.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Whether the terminal takes colours.
    pub colour: bool,
    /// Columns of the terminal; none where it is no terminal, and nothing is cut.
    pub width: Option<usize>,
}

impl Look {
    /// Text in a style, where the terminal takes colours.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
    /// A heading.
    pub fn strong(&self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }
    /// Something that is as it should be.
    pub fn good(&self, text: &str) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }
    /// Something to look at.
    pub fn bad(&self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }
}

/// A table under way.
#[derive(Debug, Clone)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new() }
    }
    /// Adds a row; missing cells are empty.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| plain::line(cell.as_ref())).collect());
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// The table as text, each line with its end.
    pub fn render(&self, look: Look) -> String {
        let widths = self.widths(look);
        let mut out = String::new();
        let heading = draw(&self.headings, &widths);
        out.push_str(&look.strong(heading.trim_end()));
        out.push('\n');
        for row in &self.rows {
            out.push_str(draw(row, &widths).trim_end());
            out.push('\n');
        }
        out
    }

    fn widths(&self, look: Look) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|h| measure_text_width(h)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        let Some(room) = look.width else { return widths };
        if let Some((last, before)) = widths.split_last_mut() {
            let taken: usize = before.iter().map(|w| w + GAP.len()).sum();
            *last = (*last).min(room.saturating_sub(taken).max(LAST_MIN));
        }
        widths
    }
}

fn draw(cells: &[String], widths: &[usize]) -> String {
    let drawn: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(at, width)| {
            let cell = cut(cells.get(at).map_or("", String::as_str), *width);
            let pad = width.saturating_sub(measure_text_width(&cell));
            format!("{cell}{}", " ".repeat(pad))
        })
        .collect();
    drawn.join(GAP)
}

/// As much of a text as fits, with a mark where something is missing.
fn cut(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let wide = measure_text_width(c.encode_utf8(&mut [0; 4]));
        if taken + wide + 1 > width {
            break;
        }
        taken += wide;
        out.push(c);
    }
    out.push('…');
    out
}

/// Names and values, one to a line, values aligned; a value of several lines goes below its name.
pub fn pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>, look: Look) -> String {
    let pairs: Vec<(String, String)> =
        pairs.into_iter().map(|(n, v)| (plain::line(n.as_ref()), plain::lines(v.as_ref()))).collect();
    let width = pairs.iter().map(|(name, _)| measure_text_width(name)).max().unwrap_or_default();
    let mut out = String::new();
    for (name, value) in &pairs {
        let pad = " ".repeat(width.saturating_sub(measure_text_width(name)));
        let value = value.trim_end().replace('\n', &format!("\n{}", " ".repeat(width + GAP.len())));
        out.push_str(format!("{}{pad}{GAP}{value}", look.strong(name)).trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["id", "make", "note"]);
        table.row(["1", "五六式", "a long note that will not fit everywhere"]);
        table.row(["12345", "ХР", "x\u{1b}[31m"]);
        table.row(["7"]);
        table
    }

    #[test]
    fn columns_align_by_what_is_shown() {
        let text = table().render(Look::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.first(), Some(&"id     make    note"));
        assert_eq!(lines.get(1), Some(&"1      五六式  a long note that will not fit everywhere"));
        assert_eq!(lines.get(2), Some(&"12345  ХР      x\\u{1b}[31m"));
        assert_eq!(lines.get(3), Some(&"7"));
    }

    #[test]
    fn the_last_column_is_cut_to_the_terminal() {
        let text = table().render(Look { colour: false, width: Some(30) });
        assert!(text.lines().all(|line| measure_text_width(line) <= 30), "{text}");
        assert!(text.contains("a long note…") || text.contains("a long note t…"), "{text}");
        let narrow = table().render(Look { colour: false, width: Some(3) });
        assert!(narrow.contains("a long note…"), "{narrow}");
    }

    #[test]
    fn colours_only_where_they_are_taken() {
        assert!(!table().render(Look::default()).contains('\u{1b}'));
        assert!(table().render(Look { colour: true, width: None }).contains('\u{1b}'));
        assert_eq!(Look::default().bad("no"), "no");
    }

    #[test]
    fn values_of_several_lines_stay_below_their_name() {
        let text = pairs([("id", "1"), ("text", "a\nb\n")], Look::default());
        assert_eq!(text, "id    1\ntext  a\n      b\n");
    }
}
