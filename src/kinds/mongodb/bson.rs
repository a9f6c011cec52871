//! The part of BSON (bsonspec.org) that commands and their replies need. A document that is read
//! is looked through in place, and nothing of it is copied.

/// Types of elements.
const DOUBLE: u8 = 0x01;
const TEXT: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BINARY: u8 = 0x05;
const BOOLEAN: u8 = 0x08;
const INT32: u8 = 0x10;
const INT64: u8 = 0x12;

/// A document that is made. No name of ours holds a NUL.
pub(super) struct Draft(Vec<u8>);

impl Draft {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self(vec![0; 4]) // its length, in the end
    }

    fn with(mut self, kind: u8, name: &str, value: &[&[u8]]) -> Self {
        self.0.push(kind);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self.0.extend(value.concat());
        self
    }

    pub(super) fn int(self, name: &str, value: i32) -> Self {
        self.with(INT32, name, &[&value.to_le_bytes()])
    }

    pub(super) fn flag(self, name: &str, value: bool) -> Self {
        self.with(BOOLEAN, name, &[&[value.into()]])
    }

    pub(super) fn text(self, name: &str, value: &str) -> Self {
        let length = (value.len() as i32 + 1).to_le_bytes();
        self.with(TEXT, name, &[&length, value.as_bytes(), &[0]])
    }

    pub(super) fn bytes(self, name: &str, value: &[u8]) -> Self {
        let length = (value.len() as i32).to_le_bytes();
        self.with(BINARY, name, &[&length, &[0], value])
    }

    pub(super) fn document(self, name: &str, value: Self) -> Self {
        self.with(DOCUMENT, name, &[&value.finish()])
    }

    #[cfg(test)]
    pub(super) fn array(self, name: &str, value: Self) -> Self {
        self.with(ARRAY, name, &[&value.finish()])
    }

    /// Its bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(0);
        let length = (self.0.len() as i32).to_le_bytes();
        self.0[..4].copy_from_slice(&length);
        self.0
    }
}

/// A document that is read: its elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a>(&'a [u8]);

/// A value, as its bytes.
#[derive(Clone, Copy, Debug)]
struct Value<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Document<'a> {
    /// All of these bytes, if they are one document; those inside it are looked at when they are
    /// asked for.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (length, rest) = split_length(bytes)?;
        let (0, elements) = rest.split_last()? else {
            return None;
        };
        let mut left = elements;
        while !left.is_empty() {
            (_, _, left) = split_element(left)?;
        }
        (length == bytes.len()).then_some(Self(elements))
    }

    /// One without elements.
    pub(super) fn empty() -> Self {
        Self(&[])
    }

    fn elements(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let (name, value, rest) = split_element(left)?;
            left = rest;
            Some((name, value))
        })
    }

    fn get(self, name: &str) -> Option<Value<'a>> {
        let mut elements = self.elements();
        elements.find_map(|(known, value)| (known == name.as_bytes()).then_some(value))
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name)?.text()
    }

    /// A number or a truth value, whichever type the server has chosen for it.
    pub(super) fn number(self, name: &str) -> Option<i64> {
        let Value { kind, bytes } = self.get(name)?;
        Some(match kind {
            DOUBLE => f64::from_le_bytes(bytes.try_into().ok()?) as i64,
            INT32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
            INT64 => i64::from_le_bytes(bytes.try_into().ok()?),
            BOOLEAN => (bytes != [0]).into(),
            _ => return None,
        })
    }

    /// Whether it is there and true.
    pub(super) fn is_true(self, name: &str) -> bool {
        self.number(name).is_some_and(|number| number != 0)
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn bytes(self, name: &str) -> Option<&'a [u8]> {
        let Value { kind, bytes } = self.get(name)?;
        (kind == BINARY).then(|| &bytes[5..]) // after the length and the subtype
    }

    /// The texts of an array.
    pub(super) fn texts(self, name: &str) -> Option<Vec<&'a str>> {
        let Value { kind, bytes } = self.get(name)?;
        let array = Document::parse(bytes).filter(|_| kind == ARRAY)?;
        Some(array.elements().filter_map(|(_, value)| value.text()).collect())
    }

    /// The texts of a document, each with its name.
    pub(super) fn pairs(self, name: &str) -> Option<Vec<(&'a str, &'a str)>> {
        let Value { kind, bytes } = self.get(name)?;
        let document = Document::parse(bytes).filter(|_| kind == DOCUMENT)?;
        let pair = |(name, value): (_, Value<'a>)| Some((str::from_utf8(name).ok()?, value.text()?));
        Some(document.elements().filter_map(pair).collect())
    }
}

impl<'a> Value<'a> {
    fn text(self) -> Option<&'a str> {
        let text = self.bytes.get(4..)?.strip_suffix(&[0])?;
        str::from_utf8(text).ok().filter(|_| self.kind == TEXT)
    }
}

/// A length in bytes, and what follows it.
fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(i32::from_le_bytes(*length)).ok()?, rest))
}

fn split_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The first element, its name and value, and the others.
fn split_element(bytes: &[u8]) -> Option<(&[u8], Value<'_>, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (name, rest) = split_name(rest)?;
    let length = || Some(split_length(rest)?.0);
    let length = match kind {
        0x06 | 0x0a | 0x7f | 0xff => 0, // undefined, null, the greatest and the least key
        &BOOLEAN => 1,
        &INT32 => 4,
        &DOUBLE | &INT64 | 0x09 | 0x11 => 8, // date, timestamp
        0x07 => 12,                          // object id
        0x13 => 16,                          // decimal
        // A text, also as code or symbol, is never without its NUL.
        &TEXT | 0x0d | 0x0e => length().filter(|length| *length > 0)?.checked_add(4)?,
        0x0c => length()?.checked_add(4 + 12)?, // a pointer
        &BINARY => length()?.checked_add(4 + 1)?,
        &DOCUMENT | &ARRAY | 0x0f => length().filter(|length| *length >= 5)?, // code with scope
        0x0b => {
            let (pattern, options) = split_name(rest)?;
            pattern.len() + 1 + split_name(options)?.0.len() + 1
        }
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(length)?;
    Some((name, Value { kind: *kind, bytes }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        let inner = Draft::new().text("a", "b").int("c", 1).text("é", "ü");
        let array = Draft::new().text("0", "x").int("1", 2).text("2", "y");
        Draft::new()
            .int("int", -2)
            .flag("yes", true)
            .flag("no", false)
            .text("text", "wörd\0s")
            .bytes("bytes", b"\0\xff")
            .document("document", inner)
            .array("array", array)
    }

    #[test]
    fn a_document_is_read_as_it_is_written() {
        let bytes = draft().finish();
        let document = Document::parse(&bytes).expect("a document");
        assert_eq!(document.number("int"), Some(-2));
        assert!(document.is_true("yes") && !document.is_true("no") && !document.is_true("none"));
        assert!(document.has("no") && !document.has("none"));
        assert_eq!(document.text("text"), Some("wörd\0s"));
        assert_eq!(document.bytes("bytes"), Some(&b"\0\xff"[..]));
        assert_eq!(document.pairs("document"), Some(vec![("a", "b"), ("é", "ü")]));
        assert_eq!(document.texts("array"), Some(vec!["x", "y"]));
        // Another type than is asked for.
        assert_eq!(document.text("int"), None);
        assert_eq!(document.number("text"), None);
        assert_eq!(document.bytes("text"), None);
        assert_eq!(document.texts("document"), None);
        assert_eq!(document.pairs("array"), None);
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        // bsonspec.org, FAQ.
        let hello = b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0";
        assert_eq!(Draft::new().text("hello", "world").finish(), hello);
        let awesome = b"\x31\0\0\0\x04BSON\0\x26\0\0\0\x020\0\x08\0\0\0awesome\0\x011\0\
                        \x33\x33\x33\x33\x33\x33\x14\x40\x102\0\xc2\x07\0\0\0\0";
        let document = Document::parse(awesome).expect("a document");
        assert_eq!(document.texts("BSON"), Some(vec!["awesome"]));
    }

    #[test]
    fn elements_of_every_type_are_passed_over() {
        for (kind, value) in [
            (0x01, &[0; 8][..]),
            (0x02, b"\x02\0\0\0x\0"),
            (0x03, b"\x05\0\0\0\0"),
            (0x04, b"\x05\0\0\0\0"),
            (0x05, b"\x01\0\0\0\x80x"),
            (0x06, b""),
            (0x07, &[1; 12]),
            (0x08, b"\x01"),
            (0x09, &[1; 8]),
            (0x0a, b""),
            (0x0b, b"^a\0i\0"),
            (0x0c, b"\x02\0\0\0x\0abcdefghijkl"),
            (0x0d, b"\x02\0\0\0x\0"),
            (0x0e, b"\x02\0\0\0x\0"),
            (0x0f, b"\x0f\0\0\0\x02\0\0\0x\0\x05\0\0\0\0"),
            (0x10, &[1; 4]),
            (0x11, &[1; 8]),
            (0x12, &[1; 8]),
            (0x13, &[1; 16]),
            (0x7f, b""),
            (0xff, b""),
        ] {
            let bytes = Draft::new().with(kind, "x", &[value]).int("after", 7).finish();
            let document = Document::parse(&bytes).unwrap_or_else(|| panic!("type {kind:#x}"));
            assert_eq!(document.number("after"), Some(7), "type {kind:#x}");
        }
        let unknown = Draft::new().with(0x20, "x", &[]).finish();
        assert!(Document::parse(&unknown).is_none());
    }

    #[test]
    fn numbers_are_read_in_each_of_their_types() {
        for (kind, value) in [
            (DOUBLE, &1.0_f64.to_le_bytes()[..]),
            (INT32, &1_i32.to_le_bytes()),
            (INT64, &1_i64.to_le_bytes()),
            (BOOLEAN, &[1]),
        ] {
            let bytes = Draft::new().with(kind, "ok", &[value]).finish();
            let document = Document::parse(&bytes).expect("a document");
            assert_eq!(document.number("ok"), Some(1), "type {kind}");
        }
    }

    #[test]
    fn what_is_cut_short_or_has_another_length_is_no_document() {
        let bytes = draft().finish();
        for end in 0..bytes.len() {
            assert!(Document::parse(&bytes[..end]).is_none(), "{end}");
        }
        assert!(Document::parse(&[&bytes[..], &[0]].concat()).is_none());
        for length in [0, 4, -1, i32::MIN, i32::MAX] {
            let mut other = bytes.clone();
            other[..4].copy_from_slice(&i32::to_le_bytes(length));
            assert!(Document::parse(&other).is_none(), "{length}");
            for kind in [TEXT, BINARY, DOCUMENT, 0x0c, 0x0f] {
                let length = &length.to_le_bytes();
                let draft = Draft::new().with(kind, "x", &[length]).finish();
                // Neither an empty binary value nor anything else is all that follows.
                assert!(Document::parse(&draft).is_none(), "{kind}, {length:?}");
            }
        }
    }
}
