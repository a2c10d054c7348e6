//! Finds the audio in a JSON message without building a tree.
//!
//! A single pass over the top-level object remembers where the values of three keys lie. The pass
//! checks the grammar of RFC 8259 as it goes: a message that is not JSON, or nests deeper than
//! [`MAX_DEPTH`], is never taken for audio and goes to Python like any other text.

use crate::base64;

/// Deepest nesting that is followed.
pub const MAX_DEPTH: u32 = 64;

/// Longest item id that is accepted, in bytes.
pub const MAX_ITEM_BYTES: usize = 256;

/// Where the audio sits in a JSON dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonKeys {
    /// Top-level key whose value names the kind of message.
    pub type_key: String,
    /// Kinds that carry audio.
    pub types: Vec<String>,
    /// Top-level key of the base64 audio.
    pub audio_key: String,
    /// Top-level key of the item id; an absent one means the empty id.
    pub item_key: String,
}

/// A message says that it is audio and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAudio {
    /// The audio key is missing or not a string.
    #[error("audio message without audio")]
    Missing,
    /// The audio is not canonical base64.
    #[error("audio message with bad base64")]
    Base64,
    /// The item id is not a string, or longer than [`MAX_ITEM_BYTES`].
    #[error("audio message with a bad item id")]
    Item,
}

/// What a JSON message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Audio was decoded into the scratch buffers.
    Audio,
    /// Anything else.
    Other,
}

/// Buffers reused from message to message.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Decoded audio.
    pub audio: Vec<u8>,
    /// Item id.
    pub item: String,
    text: Vec<u8>,
}

/// Classifies one message; fills `scratch` when it is audio.
///
/// # Errors
/// The message claims to be audio but cannot be used as such.
pub fn classify(message: &str, keys: &JsonKeys, scratch: &mut Scratch) -> Result<Kind, BadAudio> {
    let mut found = Found::default();
    if scan(message.as_bytes(), keys, &mut found).is_none() {
        return Ok(Kind::Other);
    }
    match found.kind {
        Value::Text(raw) if keys.types.iter().any(|name| raw.is(name)) => {}
        _ => return Ok(Kind::Other),
    }
    match found.item {
        Value::Absent => scratch.item.clear(),
        Value::Text(raw) => {
            scratch.text.clear();
            raw.unescape(&mut scratch.text);
            let text = std::str::from_utf8(&scratch.text).map_err(|_| BadAudio::Item)?;
            if text.len() > MAX_ITEM_BYTES {
                return Err(BadAudio::Item);
            }
            scratch.item.clear();
            scratch.item.push_str(text);
        }
        Value::Other => return Err(BadAudio::Item),
    }
    let Value::Text(raw) = found.audio else {
        return Err(BadAudio::Missing);
    };
    let decoded = if raw.escaped {
        scratch.text.clear();
        raw.unescape(&mut scratch.text);
        base64::decode(&scratch.text, &mut scratch.audio)
    } else {
        base64::decode(raw.bytes, &mut scratch.audio)
    };
    decoded.map(|()| Kind::Audio).map_err(|_| BadAudio::Base64)
}

#[derive(Debug, Default, Clone, Copy)]
enum Value<'a> {
    #[default]
    Absent,
    Text(Raw<'a>),
    Other,
}

#[derive(Debug, Default)]
struct Found<'a> {
    kind: Value<'a>,
    audio: Value<'a>,
    item: Value<'a>,
}

/// A string as it stands in the message, without its quotes; its escapes have been checked.
#[derive(Debug, Clone, Copy)]
struct Raw<'a> {
    bytes: &'a [u8],
    escaped: bool,
}

impl Raw<'_> {
    fn is(&self, text: &str) -> bool {
        if !self.escaped {
            return self.bytes == text.as_bytes();
        }
        let mut rest = text.as_bytes();
        let mut same = true;
        self.pieces(|piece| match rest.strip_prefix(piece) {
            Some(after) => rest = after,
            None => same = false,
        });
        same && rest.is_empty()
    }

    fn unescape(&self, out: &mut Vec<u8>) {
        self.pieces(|piece| out.extend_from_slice(piece));
    }

    fn pieces(&self, mut piece: impl FnMut(&[u8])) {
        let mut rest = self.bytes;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            piece(&rest[..at]);
            let (character, used) = escape(&rest[at + 1..]).unwrap_or(('\u{FFFD}', 1));
            piece(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[at + 1 + used..];
        }
        piece(rest);
    }
}

/// Decodes the escape behind a backslash; returns it and how many bytes it took.
fn escape(bytes: &[u8]) -> Option<(char, usize)> {
    let simple = |character| Some((character, 1));
    match bytes.first()? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let high = hex(bytes.get(1..5)?)?;
            if !(0xD800..0xE000).contains(&high) {
                return Some((char::from_u32(high)?, 5));
            }
            let low = match bytes.get(5..11)? {
                [b'\\', b'u', digits @ ..] => hex(digits)?,
                _ => return None,
            };
            if high >= 0xDC00 || !(0xDC00..0xE000).contains(&low) {
                return None;
            }
            Some((char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 11))
        }
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

fn scan<'a>(bytes: &'a [u8], keys: &JsonKeys, found: &mut Found<'a>) -> Option<()> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.space();
    cursor.expect(b'{')?;
    cursor.space();
    if cursor.peek()? == b'}' {
        cursor.at += 1;
    } else {
        loop {
            cursor.space();
            let key = cursor.string()?;
            cursor.space();
            cursor.expect(b':')?;
            cursor.space();
            let value = cursor.value()?;
            // As everywhere else, the last of several equal keys counts.
            if key.is(&keys.type_key) {
                found.kind = value;
            }
            if key.is(&keys.audio_key) {
                found.audio = value;
            }
            if key.is(&keys.item_key) {
                found.item = value;
            }
            cursor.space();
            match cursor.take()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
    }
    cursor.space();
    (cursor.at == bytes.len()).then_some(())
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.take()? == wanted).then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Option<Raw<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = &self.bytes[self.at..];
            let stop = memchr::memchr2(b'"', b'\\', rest)?;
            if rest[..stop].iter().any(|&byte| byte < 0x20) {
                return None;
            }
            self.at += stop + 1;
            if rest[stop] == b'"' {
                return Some(Raw { bytes: &self.bytes[start..self.at - 1], escaped });
            }
            escaped = true;
            self.at += escape(&self.bytes[self.at..])?.1;
        }
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => self.string().map(Value::Text),
            b'{' | b'[' => self.nested().map(|()| Value::Other),
            _ => self.scalar().map(|()| Value::Other),
        }
    }

    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// Steps over an object or array. One bit per level remembers which it is.
    fn nested(&mut self) -> Option<()> {
        let mut objects = 0_u64;
        let mut depth = 0_u32;
        loop {
            // At the begin of a value, or of an object's key.
            self.space();
            let opened = match self.peek()? {
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    depth += 1;
                    if depth >= MAX_DEPTH {
                        return None;
                    }
                    objects = objects << 1 | u64::from(open == b'{');
                    self.space();
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.peek()? == close {
                        self.at += 1;
                        depth -= 1;
                        objects >>= 1;
                        false
                    } else {
                        true
                    }
                }
                b'"' => {
                    self.string()?;
                    false
                }
                _ => {
                    self.scalar()?;
                    false
                }
            };
            if opened {
                self.key(objects)?;
                continue;
            }
            loop {
                if depth == 0 {
                    return Some(());
                }
                self.space();
                let byte = self.take()?;
                if byte == b',' {
                    self.key(objects)?;
                    break;
                }
                if byte != if objects & 1 == 1 { b'}' } else { b']' } {
                    return None;
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// Steps over `"key":` when the innermost level is an object.
    fn key(&mut self, objects: u64) -> Option<()> {
        if objects & 1 == 1 {
            self.space();
            self.string()?;
            self.space();
            self.expect(b':')?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use ::base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;

    fn keys() -> JsonKeys {
        JsonKeys {
            type_key: "type".into(),
            types: vec!["audio".into(), "also/\u{e9}".into()],
            audio_key: "delta".into(),
            item_key: "item".into(),
        }
    }

    type Outcome = Result<Option<(String, Vec<u8>)>, BadAudio>;

    fn ours(message: &str) -> Outcome {
        let mut scratch = Scratch::default();
        classify(message, &keys(), &mut scratch)
            .map(|kind| (kind == Kind::Audio).then_some((scratch.item, scratch.audio)))
    }

    /// The same judgement by a tree.
    fn reference(message: &str) -> Outcome {
        let Ok(Json::Object(map)) = serde_json::from_str::<Json>(message) else {
            return Ok(None);
        };
        match map.get("type") {
            Some(Json::String(kind)) if keys().types.contains(kind) => {}
            _ => return Ok(None),
        }
        let item = match map.get("item") {
            None => String::new(),
            Some(Json::String(item)) if item.len() <= MAX_ITEM_BYTES => item.clone(),
            Some(_) => return Err(BadAudio::Item),
        };
        let Some(Json::String(audio)) = map.get("delta") else {
            return Err(BadAudio::Missing);
        };
        STANDARD.decode(audio).map(|bytes| Some((item, bytes))).map_err(|_| BadAudio::Base64)
    }

    #[test]
    fn finds_audio_in_any_order_with_escapes_and_space() {
        let audio = Ok(Some(("i1".to_owned(), b"hi?~".to_vec())));
        assert_eq!(ours(r#"{"type":"audio","item":"i1","delta":"aGk/fg=="}"#), audio);
        assert_eq!(
            ours("\n{ \"delta\" :\t\"aGk\\/fg==\" ,\"item\":\"i\\u0031\",\"type\":\"aud\\u0069o\"} "),
            audio
        );
        assert_eq!(
            ours(
                r#"{"x":{"type":"no","y":[1,{"delta":"]}"}]},"type":"audio","item":"i1","delta":"aGk/fg=="}"#
            ),
            audio
        );
        assert_eq!(ours(r#"{"type":"x","type":"audio","item":"i1","delta":"aGk/fg=="}"#), audio);
        assert_eq!(ours(r#"{"type":"also/\u00e9","delta":""}"#), Ok(Some((String::new(), Vec::new()))));
    }

    #[test]
    fn everything_else_is_text() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "{\"type\":\"audio\"",
            r#"{"type":"other","delta":"aGk="}"#,
            r#"{"a":{"type":"audio","delta":"aGk="}}"#,
            r#"{"type":["audio"],"delta":"aGk="}"#,
            r#"{"type":"audio","delta":"aGk="} x"#,
            r#"{"type":"audio","delta":"aGk=",}"#,
            r#"{"type":"audio","delta":"aGk=","x":01}"#,
            r#"{"type":"audio","delta":"aGk=","x":[1,]}"#,
            "{\"type\":\"audio\",\"delta\":\"aGk=\",\"x\":\"\n\"}",
            r#"{"type":"audio","delta":"aGk=","x":"\ud800"}"#,
        ] {
            assert_eq!(ours(text), Ok(None), "{text}");
            assert_eq!(reference(text), Ok(None), "{text}");
        }
        let deep = format!(r#"{{"type":"audio","delta":"","x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
        assert_eq!(ours(&deep), Ok(None));
        let edge = format!(r#"{{"type":"audio","delta":"","x":{}{}}}"#, "[".repeat(63), "]".repeat(63));
        assert_eq!(ours(&edge), Ok(Some((String::new(), Vec::new()))));
    }

    #[test]
    fn unusable_audio_is_an_error() {
        assert_eq!(ours(r#"{"type":"audio"}"#), Err(BadAudio::Missing));
        assert_eq!(ours(r#"{"type":"audio","delta":7}"#), Err(BadAudio::Missing));
        assert_eq!(ours(r#"{"type":"audio","delta":"aG k="}"#), Err(BadAudio::Base64));
        assert_eq!(ours(r#"{"type":"audio","delta":"aGk=\n"}"#), Err(BadAudio::Base64));
        assert_eq!(ours(r#"{"type":"audio","delta":"aGk=","item":3}"#), Err(BadAudio::Item));
        let long = json!({"type": "audio", "delta": "", "item": "x".repeat(257)}).to_string();
        assert_eq!(ours(&long), Err(BadAudio::Item));
    }

    fn tree() -> impl Strategy<Value = Json> {
        let text =
            prop_oneof!["[a-z\\\\\"/\u{e9}\u{1F600}\n]{0,6}", Just("type".into()), Just("audio".into())];
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<f64>().prop_map(|number| json!(number)),
            any::<i64>().prop_map(Json::from),
            text.clone().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::vec((text.clone(), inner), 0..4)
                    .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
            ]
        })
    }

    fn message() -> impl Strategy<Value = String> {
        let kind = prop_oneof![3 => Just(json!("audio")), 1 => Just(json!("also/\u{e9}")), 1 => tree()];
        let audio = prop_oneof![
            3 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| json!(STANDARD.encode(bytes))),
            1 => tree(),
        ];
        let item = prop_oneof![3 => "[a-z\"\\\\\u{e9}]{0,8}".prop_map(Json::from), 1 => tree()];
        let other = proptest::collection::vec(("[a-z]{0,5}", tree()), 0..3);
        (kind, audio, item, other, any::<bool>(), any::<prop::sample::Index>()).prop_map(
            |(kind, audio, item, other, pretty, turn)| {
                let mut fields =
                    vec![("type".to_owned(), kind), ("delta".to_owned(), audio), ("item".to_owned(), item)];
                fields.extend(other);
                let by = turn.index(fields.len());
                fields.rotate_left(by);
                let body: Vec<String> = fields
                    .iter()
                    .map(|(key, value)| {
                        let value = if pretty {
                            serde_json::to_string_pretty(value)
                        } else {
                            serde_json::to_string(value)
                        };
                        let gap = if pretty { " \n" } else { "" };
                        format!("{gap}{}{gap}:{gap}{}", json!(key), value.unwrap())
                    })
                    .collect();
                format!("{{{}}}", body.join(","))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn judges_like_a_tree(message in message()) {
            prop_assert_eq!(ours(&message), reference(&message));
        }

        #[test]
        fn judges_damaged_messages_like_a_tree(
            message in message(),
            at in any::<prop::sample::Index>(),
            to in prop_oneof![Just(""), Just("\""), Just("\\"), Just("{"), Just("]"), Just(","), Just(" "), Just("0")],
        ) {
            let starts: Vec<usize> = message.char_indices().map(|(index, _)| index).collect();
            let index = at.index(starts.len());
            let end = starts.get(index + 1).copied().unwrap_or(message.len());
            let damaged = [&message[..starts[index]], to, &message[end..]].concat();
            prop_assert_eq!(ours(&damaged), reference(&damaged));
        }

        #[test]
        fn hostile_text_never_panics(text in "[\\PC\"\\\\{}\\[\\],:]{0,60}") {
            let _ = ours(&text);
        }
    }
}
