//! XML rows: the elements of the given names, wherever they stand, streamed.
//!
//! An element becomes a tree: attributes as `@name`, text as the value or, beside children, as `#text`, children
//! of one name as a list. The row's own name is `#element`. Namespaces are dropped. No document type is read and no entity but the five that XML
//! defines, so nothing is fetched and nothing expands.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{CELL_BYTES_MAX, DEPTH_MAX, NODES_MAX, Node, ROW_BYTES_MAX, Row, RowCause, RowFault, TableError, excerpt};

/// The rows of an XML file.
pub(super) struct Rows<R> {
    reader: Reader<Bounded<R>>,
    elements: Arc<[String]>,
    buffer: Vec<u8>,
    number: u64,
    ended: bool,
}

impl<R: BufRead> Rows<R> {
    pub(super) fn open(reader: R, elements: &[String]) -> Result<Self, TableError> {
        if elements.is_empty() {
            return Err(TableError::NoElement);
        }
        let reader = Reader::from_reader(Bounded { reader, left: ROW_BYTES_MAX });
        Ok(Self { reader, elements: elements.into(), buffer: Vec::new(), number: 0, ended: false })
    }

    /// The next event; reading one never holds more than [`ROW_BYTES_MAX`].
    fn event(&mut self) -> Result<Event<'_>, Stop> {
        self.buffer.clear();
        self.reader.get_mut().left = ROW_BYTES_MAX;
        match self.reader.read_event_into(&mut self.buffer) {
            Ok(Event::DocType(_)) => Err(Stop::Broken("document type declarations are not accepted".to_owned())),
            Ok(Event::Decl(declared)) => match declared.encoding() {
                Some(Ok(name)) if !name.eq_ignore_ascii_case("utf-8") => {
                    Err(Stop::Broken(format!("the encoding is `{}`, and UTF-8 is read", excerpt(&name))))
                }
                _ => Ok(Event::Decl(declared)),
            },
            Ok(event) => Ok(event),
            Err(quick_xml::Error::Io(error)) if error.kind() != io::ErrorKind::FileTooLarge => {
                Err(Stop::Read(error.to_string()))
            }
            Err(error) => Err(Stop::Broken(error.to_string())),
        }
    }

    fn row(&mut self) -> Result<Option<Result<Row, RowFault>>, Stop> {
        loop {
            let elements = Arc::clone(&self.elements);
            let (start, is_empty) = match self.event()? {
                Event::Eof => return Ok(None),
                Event::Start(start) => (start.into_owned(), false),
                Event::Empty(start) => (start.into_owned(), true),
                _ => continue,
            };
            if elements.iter().any(|name| name.as_bytes() == start.local_name().as_ref().as_bytes()) {
                self.number += 1;
                let number = self.number;
                return Ok(Some(match self.tree(&start, is_empty)? {
                    Ok(node) => Ok(Row::tree(number, node)),
                    Err(cause) => Err(RowFault::of_row(number, cause)),
                }));
            }
        }
    }

    /// Reads one element to its end. A cause leaves the row out; a stop ends the file.
    fn tree(&mut self, start: &BytesStart<'_>, is_empty: bool) -> Result<Result<Node, RowCause>, Stop> {
        let mut build = Build::default();
        build.open(start);
        if is_empty {
            build.close();
        }
        while build.root.is_none() {
            match self.event()? {
                Event::Start(start) => build.open(&start),
                Event::Empty(start) => {
                    build.open(&start);
                    build.close();
                }
                Event::End(_) => build.close(),
                Event::Text(text) => build.text(&text.xml10_content()),
                Event::CData(text) => build.text(&text.xml10_content()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(c)) => build.text(c.encode_utf8(&mut [0; 4])),
                    _ => match quick_xml::escape::resolve_predefined_entity(&reference.xml10_content()) {
                        Some(text) => build.text(text),
                        None => build.fault(RowCause::Xml("an entity that XML does not define".to_owned())),
                    },
                },
                Event::Eof => return Err(Stop::Broken("the file ends inside an element".to_owned())),
                _ => {}
            }
        }
        Ok(build.finish().map(|mut members| {
            members.push(("#element".to_owned(), Node::Text(start.local_name().as_ref().to_string())));
            Node::Object(members)
        }))
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Row, RowFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.row() {
            Ok(Some(row)) => return Some(row),
            Ok(None) => self.ended = true,
            Err(stop) => {
                self.ended = true;
                let cause = match stop {
                    Stop::Broken(why) => RowCause::Broken(why),
                    Stop::Read(why) => RowCause::Read(why),
                };
                return Some(Err(RowFault::of_row(self.number.max(1), cause)));
            }
        }
        None
    }
}

/// Why nothing more can be read.
enum Stop {
    Broken(String),
    Read(String),
}

/// An element that is being read.
#[derive(Default)]
struct Element {
    name: String,
    text: String,
    members: Vec<(String, Node)>,
}

/// Builds one row. After the first cause only the nesting is followed, so that the next row is found.
#[derive(Default)]
struct Build {
    open: Vec<Element>,
    /// Elements open beyond those in `open`, once there is a cause.
    unbuilt: usize,
    nodes: usize,
    bytes: usize,
    root: Option<Node>,
    cause: Option<RowCause>,
}

impl Build {
    fn fault(&mut self, cause: RowCause) {
        self.cause.get_or_insert(cause);
    }

    fn open(&mut self, start: &BytesStart<'_>) {
        if self.cause.is_some() || self.open.len() >= DEPTH_MAX {
            self.fault(RowCause::TooComplex);
            self.unbuilt += 1;
            return;
        }
        let mut element = Element { name: start.local_name().as_ref().to_string(), ..Element::default() };
        self.spend(element.name.len());
        self.legal(&element.name);
        for attribute in start.attributes() {
            let read = attribute.map_err(|error| error.to_string()).and_then(|attribute| {
                let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
                let name = format!("@{}", attribute.key.local_name().as_ref());
                value.map(|value| (name, value.into_owned())).map_err(|error| error.to_string())
            });
            match read {
                Ok((name, value)) => {
                    self.spend(name.len() + value.len());
                    self.legal(&name);
                    self.legal(&value);
                    if value.len() > CELL_BYTES_MAX {
                        self.fault(RowCause::CellTooLong);
                    }
                    element.members.push((name, Node::Text(value)));
                }
                Err(why) => self.fault(RowCause::Xml(why)),
            }
        }
        self.open.push(element);
    }

    fn text(&mut self, text: &str) {
        self.bytes += text.len();
        if self.bytes > ROW_BYTES_MAX {
            self.fault(RowCause::RowTooLong);
        }
        self.legal(text);
        if self.cause.is_some() {
            return;
        }
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
            if element.text.len() > CELL_BYTES_MAX {
                self.fault(RowCause::CellTooLong);
            }
        }
    }

    /// NUL is no character of XML, nor of a row on its way: names and attributes may not have it either.
    fn legal(&mut self, text: &str) {
        if text.contains('\0') {
            self.fault(RowCause::Nul);
        }
    }

    fn close(&mut self) {
        if self.unbuilt > 0 {
            self.unbuilt -= 1;
            return;
        }
        let Some(mut element) = self.open.pop() else { return };
        let text = element.text.trim();
        let node = if element.members.is_empty() {
            Node::Text(text.to_owned())
        } else {
            if !text.is_empty() {
                element.members.push(("#text".to_owned(), Node::Text(text.to_owned())));
            }
            Node::Object(element.members)
        };
        match self.open.last_mut() {
            Some(parent) => add(&mut parent.members, element.name, node),
            None => self.root = Some(node),
        }
    }

    fn spend(&mut self, bytes: usize) {
        self.nodes += 1;
        self.bytes += bytes;
        if self.nodes > NODES_MAX {
            self.fault(RowCause::TooComplex);
        }
        if self.bytes > ROW_BYTES_MAX {
            self.fault(RowCause::RowTooLong);
        }
    }

    fn finish(self) -> Result<Vec<(String, Node)>, RowCause> {
        match (self.cause, self.root) {
            (Some(cause), _) => Err(cause),
            (None, Some(Node::Object(members))) => Ok(members),
            // A row of text alone is reached as `#text`.
            (None, Some(node)) => Ok(vec![("#text".to_owned(), node)]),
            (None, None) => Err(RowCause::Xml("an element that does not end".to_owned())),
        }
    }
}

/// Adds a child; a second one of its name makes a list. Children of one name mostly follow each other, so the
/// search starts at the end.
fn add(members: &mut Vec<(String, Node)>, name: String, node: Node) {
    match members.iter_mut().rev().find(|(have, _)| *have == name) {
        Some((_, Node::List(items))) => items.push(node),
        Some((_, have)) => {
            let first = std::mem::replace(have, Node::List(Vec::new()));
            if let Node::List(items) = have {
                items.push(first);
                items.push(node);
            }
        }
        None => members.push((name, node)),
    }
}

/// A reader that fails once more than `left` bytes were taken since it was last set.
struct Bounded<R> {
    reader: R,
    left: usize,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..taken), available.get(..taken)) {
            to.copy_from_slice(from);
        }
        self.consume(taken);
        Ok(taken)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "one tag or text is longer than a row may be"));
        }
        self.reader.fill_buf()
    }

    fn consume(&mut self, taken: usize) {
        self.left = self.left.saturating_sub(taken);
        self.reader.consume(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;

    fn rows(input: &str, elements: &[&str]) -> Vec<Result<Row, RowFault>> {
        let elements: Vec<String> = elements.iter().map(|name| (*name).to_owned()).collect();
        let reader = std::io::BufReader::with_capacity(7, input.as_bytes());
        Rows::open(reader, &elements).unwrap().collect()
    }

    #[test]
    fn repeated_elements_are_lists_and_two_names_are_rows() {
        let found = rows(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><L><A><x:P id=\"7\"><N>one &amp; &#x41;</N><AL><V>a</V></AL>\
             <AL><V>b</V></AL><E/></x:P></A><B><Q><![CDATA[<c>]]></Q></B><P>only</P></L>",
            &["P", "Q"],
        );
        let text = |row: usize, path: &str| found[row].as_ref().unwrap().texts(&Column::named(path)).join("|");
        assert_eq!(text(0, "N"), "one & A");
        assert_eq!(text(0, "@id"), "7");
        assert_eq!(text(0, "AL.V"), "a|b");
        assert_eq!(text(0, "AL.2.V"), "b");
        assert_eq!(text(0, "E"), "");
        assert_eq!(text(1, "#text"), "<c>");
        assert_eq!(text(2, "#text"), "only");
        assert_eq!((text(1, "#element"), text(2, "#element")), ("Q".to_owned(), "P".to_owned()));
        assert_eq!(found.len(), 3);
        let grouped = found[0].as_ref().unwrap().grouped(&Column::named("AL"), &[Column::named("V")]);
        assert_eq!(grouped, [[Some("a")], [Some("b")]]);
    }

    #[test]
    fn entities_and_document_types_are_refused() {
        let found = rows("<L><P>&lol;</P><P>ok</P></L>", &["P"]);
        assert!(matches!(found[0], Err(RowFault { row: 1, cause: RowCause::Xml(_), .. })));
        assert!(found[1].is_ok());
        let found = rows("<!DOCTYPE L [<!ENTITY lol \"x\">]><L><P>&lol;</P></L>", &["P"]);
        assert!(found[0].as_ref().is_err_and(RowFault::ends_file));
        let found = rows("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><L><P>a</P></L>", &["P"]);
        assert!(found[0].as_ref().is_err_and(RowFault::ends_file));
    }

    /// Story: a NUL in the name of an attribute made a row that is none on its way to the parent, which then gave up the
    /// whole file as one made to attack programs. It is the fault of its row.
    #[test]
    fn a_nul_in_a_name_or_an_attribute_costs_its_row() {
        for bad in ["<P a\0=\"1\"/>", "<P a=\"\0\"/>", "<P><a\0/></P>", "<P>\0</P>"] {
            let found = rows(&format!("<L>{bad}<P>ok</P></L>"), &["P"]);
            assert!(matches!(found[0], Err(RowFault { row: 1, cause: RowCause::Nul, .. })), "{bad:?}: {:?}", found[0]);
            assert!(found[1].is_ok());
        }
    }

    #[test]
    fn rows_are_bounded_and_the_next_is_read() {
        let deep = format!("<P>{}{}</P>", "<d>".repeat(DEPTH_MAX), "</d>".repeat(DEPTH_MAX));
        let wide = format!("<P>{}</P>", "<d/>".repeat(NODES_MAX + 1));
        let cell = format!("<P><d>{}</d></P>", "x".repeat(CELL_BYTES_MAX + 1));
        let found = rows(&format!("<L>{deep}{wide}{cell}<P><d>ok</d></P></L>"), &["P"]);
        assert_eq!(found.len(), 4);
        assert!(found[..3].iter().all(Result::is_err));
        assert_eq!(found[3].as_ref().unwrap().texts(&Column::named("d")), ["ok"]);
        let endless = format!("<L><P>{}", "x".repeat(ROW_BYTES_MAX * 2));
        let found = rows(&endless, &["P"]);
        assert!(found[0].as_ref().is_err_and(|fault| fault.ends_file() && fault.to_string().contains("longer")));
    }

    #[test]
    fn a_broken_end_keeps_what_came_before() {
        let found = rows("<L><P><a>1</a></P><P><a>2</b></P>", &["P"]);
        assert!(found[0].is_ok());
        assert!(found[1].as_ref().is_err_and(RowFault::ends_file));
        assert_eq!(found.len(), 2);
    }
}
