//! Views of a Rust source text: without comments and literals, without tests. For the rules of [`super`].
//!
//! Not a parser: it knows just enough of the language not to be fooled by a comment, a string or a test module.
//! It never changes the number of lines, so a line number found in a view holds in the file.

/// The text with comments, strings and character literals blanked out.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    // Progress: `at` grows in every arm.
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at + 1),
            b'r' if !after_word(bytes, at) || prefixed(bytes, at) => match raw_string_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            b'\'' => match char_end(text, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        blank(&mut out, at, end);
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A view of [`code_only`] with every item behind `#[cfg(test)]` or `#[cfg(any(test, ...))]` blanked out.
pub fn without_tests(code: &str) -> String {
    let bytes = code.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some((begin, after)) = next_test_attribute(code, at) {
        let end = item_end(bytes, after);
        blank(&mut out, begin, end);
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Modules that a file declares for tests only (`#[cfg(test)] mod name;`), each with the file that `#[path]` gives it.
///
/// `text` is the file, `code` its [`code_only`] view, in which the path itself is blank.
pub fn test_modules(text: &str, code: &str) -> Vec<(String, Option<String>)> {
    let mut modules = Vec::new();
    let mut at = 0;
    while let Some((_, after)) = next_test_attribute(code, at) {
        let end = item_end(code.as_bytes(), after);
        let item = code.get(after..end).unwrap_or_default().trim();
        let words: Vec<&str> = item.trim_end_matches(';').split_whitespace().collect();
        if let ([.., "mod", name], true) = (words.as_slice(), item.ends_with(';')) {
            let raw = text.get(after..end).unwrap_or_default();
            let path = raw.split_once("#[path = \"").and_then(|(_, rest)| rest.split('"').next());
            modules.push(((*name).to_owned(), path.map(str::to_owned)));
        }
        at = end;
    }
    modules
}

/// Whether `word` stands in a view, not inside a longer one.
pub fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let after = code.get(at + word.len()..).unwrap_or_default();
        !code.get(..at).unwrap_or_default().ends_with(is_word) && !after.starts_with(is_word)
    })
}

/// Line numbers, from 1, where `needle` stands in a view as a path or word of its own.
///
/// It is not found inside a longer word, nor behind `::`, so that `fjall::Keyspace` is the crate and
/// `self::fjall::open` our module. A needle that begins with `::` or `.` may follow anything.
pub fn lines_with(code: &str, needle: &str) -> Vec<usize> {
    let free = needle.starts_with("::") || needle.starts_with('.');
    let mut lines = Vec::new();
    for (at, _) in code.match_indices(needle) {
        let before = code.get(..at).unwrap_or_default();
        let after = code.get(at + needle.len()..).unwrap_or_default();
        let behind = before.strip_suffix("::").is_some_and(|path| path.ends_with(is_word) || path.ends_with('>'));
        let joined = before.ends_with(is_word) || behind;
        let goes_on = needle.ends_with(is_word) && after.starts_with(is_word);
        if (free || !joined) && !goes_on {
            lines.push(before.matches('\n').count() + 1);
        }
    }
    lines.dedup();
    lines
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn blank(out: &mut [u8], from: usize, to: usize) {
    for byte in &mut out[from..to] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    bytes.get(from..)?.windows(needle.len()).position(|w| w == needle).map(|p| p + from)
}

fn after_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// Whether the `r` at `at` is the second letter of `br` or `cr`.
fn prefixed(bytes: &[u8], at: usize) -> bool {
    at > 0 && matches!(bytes[at - 1], b'b' | b'c') && !after_word(bytes, at - 1)
}

fn block_comment_end(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of a raw string that begins at this `r`; none if it is no raw string (`r#type`).
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    let quote = at + 1 + hashes;
    (bytes.get(quote) == Some(&b'"')).then_some(())?;
    let closing = [b"\"".as_slice(), "#".repeat(hashes).as_bytes()].concat();
    Some(find(bytes, quote + 1, &closing).map_or(bytes.len(), |p| p + closing.len()))
}

/// The end of a character literal; none for a lifetime.
fn char_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.get(at + 1) == Some(&b'\\') {
        return find(bytes, at + 3, b"'").map(|p| p + 1);
    }
    // One character of up to four bytes between the quotes.
    let width = text.get(at + 1..)?.chars().next()?.len_utf8();
    (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + 2 + width)
}

/// Begin and end of the next attribute that keeps an item for tests.
fn next_test_attribute(code: &str, from: usize) -> Option<(usize, usize)> {
    ["#[cfg(test)]", "#[cfg(any(test,", "#[cfg(all(test,", "#[test]"]
        .iter()
        .filter_map(|attribute| code.get(from..)?.find(attribute).map(|p| p + from))
        .min()
        .and_then(|begin| Some((begin, code.get(begin..)?.find(']')? + begin + 1)))
}

/// The end of the item that begins at `from`: its closing brace, or a `;` or `,` outside any bracket.
fn item_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            b',' if depth == 0 && !has_generics(&bytes[from..at]) => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

/// Whether an item that begins like this may have commas between angle brackets; a field or an arm ends at its comma.
fn has_generics(begin: &[u8]) -> bool {
    let words = String::from_utf8_lossy(begin);
    words.split_whitespace().any(|w| ["fn", "struct", "enum", "trait", "type"].contains(&w) || w.starts_with("impl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "a /* b /* c */ d */ e // f\n\"g\\\"h\" r#\"i \" j\"# br\"k\" 'l' '\\n' 'ü' &'m n r#type \"o\np\" q";
        let code = code_only(text);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "e", "b", "&'m", "n", "r#type", "q"]);
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn tests_are_blanked_and_the_rest_is_not() {
        let code = "fn a() {} #[cfg(test)] mod tests { fn b() { c(); } } fn d() {} #[cfg(test)] mod e; fn f() {} \
                    #[cfg(any(test, feature = \"x\"))] #[expect(g)] pub fn h<I, J>(k: I) { l() } struct M { #[cfg(test)] n: u8, o: u8 }";
        let view = without_tests(code);
        assert_eq!(
            view.split_whitespace().collect::<Vec<_>>().join(" "),
            "fn a() {} fn d() {} fn f() {} struct M { o: u8 }"
        );
        let text = "#[cfg(test)]\n#[path = \"f_tests.rs\"]\nmod tests;\n#[cfg(test)] mod e; mod f;";
        let expected = [("tests".to_owned(), Some("f_tests.rs".to_owned())), ("e".to_owned(), None)];
        assert_eq!(test_modules(text, &code_only(text)), expected);
    }

    #[test]
    fn a_word_is_found_alone_only() {
        let code = "use fjall::X;\nself::fjall::y();\nmy_fjall::z();\nfjall::w();\n{fjall::v}\n::fjall::u()";
        assert_eq!(lines_with(code, "fjall::"), [1, 4, 5, 6]);
        assert_eq!(lines_with("a::assertion(\nassertion_of(", "::assertion"), [1]);
        assert!(has_word("label::SIGN_RUN)", "SIGN_RUN") && !has_word("SIGN_RUN_X", "SIGN_RUN") && !has_word("", "A"));
        assert_eq!(lines_with("unsafe {}\nunsafe_code\nis_unsafe", "unsafe"), [1]);
    }
}
