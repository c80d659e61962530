//! JSON objects as they are stored: one spelling for all that `jsonb` takes for the same.
//!
//! PostgreSQL keeps what an object says and not how it was written: white space, the order of the keys, all but the last of a
//! key that stands twice, escapes, exponents and the sign of zero are lost.
//! <https://www.postgresql.org/docs/current/datatype-json.html>. An object that comes back from there has another text, so a
//! digest over the text would take it for another one. [`canonical`] writes both alike: `canonical(text)` is
//! `canonical(text::jsonb::text)`. Two objects that differ in a number's trailing zeros stay two, as `jsonb` shows them.

use crate::chunk::MAX_LINE_BYTES;
use std::borrow::Cow;
use std::cmp::Ordering;
use thiserror::Error;

/// The deepest object that is stored. PostgreSQL's own limit is its stack; this stays far from it.
const MAX_DEPTH: usize = 32;

/// The longest number, written out without an exponent, as `jsonb` gives it back. `numeric` takes 131,072 digits before the point.
const MAX_NUMBER: usize = 1_000;

/// The largest exponent either way.
const MAX_EXPONENT: i32 = 300;

/// How much longer than its shortest form a number may be and still be written out. It bounds how much an object grows: at
/// worst `1e6,` becomes `1000000,`, twice as long.
const SPARE_DIGITS: usize = 4;

/// How long an object may be when it is taken out again, with its numbers written out and without white space, in bytes. So a
/// row that is taken out fits into a line, and can be sent again: its other fields take less than what is left of one, even
/// where each character of theirs is an escape.
pub(crate) const MAX_BYTES: usize = MAX_LINE_BYTES - (32 << 10);

/// Why an object cannot be stored.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unstorable {
    /// PostgreSQL would need its stack for it.
    #[error("more than 32 levels deep")]
    TooDeep,
    /// A text of PostgreSQL cannot hold it.
    #[error("a string holds the character U+0000")]
    NulCharacter,
    /// Half of a surrogate pair.
    #[error("a string holds an escape that stands for no character")]
    LoneSurrogate,
    /// `numeric` has limits, and so have digits that an exponent stands for.
    #[error("a number is too large or too long")]
    Number,
    /// `jsonb` writes its numbers out: `1e300` takes 301 digits there.
    #[error("with its numbers written out it is longer than 992 KiB")]
    TooLong,
    /// It is no JSON; what a JSON reader has passed never is that.
    #[error("not JSON")]
    Malformed,
}

/// The one spelling of a well-formed JSON value: no white space; keys by length, then by their bytes, each once; no escape
/// that is not needed; numbers without an exponent, unless they are much shorter with one. At most twice as long as `token`.
///
/// # Errors
/// Why `jsonb` would refuse it.
pub fn canonical(token: &str) -> Result<Cow<'_, str>, Unstorable> {
    let (out, written_out_bytes) = spelled(token)?;
    if written_out_bytes > MAX_BYTES {
        return Err(Unstorable::TooLong);
    }
    if out == token.as_bytes() {
        return Ok(Cow::Borrowed(token));
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| Unstorable::Malformed)
}

/// The one spelling, and how long it is with its numbers written out; what a key had that stands again further on counts, too.
fn spelled(token: &str) -> Result<(Vec<u8>, usize), Unstorable> {
    let mut reader = Reader { token, at: 0, members: Vec::new(), longer: 0 };
    let mut out = Vec::with_capacity(token.len());
    reader.value(&mut out, 0)?;
    reader.skip_space();
    if reader.at != token.len() {
        return Err(Unstorable::Malformed);
    }
    let written_out_bytes = out.len() + reader.longer;
    Ok((out, written_out_bytes))
}

/// JSON as `jsonb` writes it without the space that it puts after each comma and colon.
#[must_use]
pub fn without_spaces(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut out, mut kept, mut at, mut is_in_string) = (String::new(), 0, 0, false);
    // most objects are short, and so is what stands between their quotes: a search for the next one costs more than a look at each
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => is_in_string = !is_in_string,
            // what follows ends no string
            b'\\' => at += 1,
            b' ' if !is_in_string => {
                if kept == 0 {
                    out.reserve(text.len());
                }
                out.push_str(&text[kept..at]);
                kept = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[kept..]);
    Cow::Owned(out)
}

/// Where a member of an object stands in what was written: its key, and behind it the colon and the value.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

struct Reader<'a> {
    token: &'a str,
    at: usize,
    /// Members of the objects that are open, the innermost one's last.
    members: Vec<Member>,
    /// How much longer what was written is when its numbers are written out, in bytes.
    longer: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.token.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes `byte`, if that is what comes next.
    fn pass(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Unstorable> {
        self.skip_space();
        match self.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(Unstorable::TooDeep),
            Some(b'{') => self.object(out, depth + 1),
            Some(b'[') => self.array(out, depth + 1),
            Some(b'"') => self.string(out),
            Some(b'-' | b'0'..=b'9') => self.number(out),
            _ => self.word(out),
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Unstorable> {
        self.at += 1;
        out.push(b'{');
        let (first, body) = (self.members.len(), out.len());
        if !self.pass(b'}') {
            loop {
                self.skip_space();
                let start = out.len();
                self.string(out)?;
                let key_end = out.len();
                if !self.pass(b':') {
                    return Err(Unstorable::Malformed);
                }
                out.push(b':');
                self.value(out, depth)?;
                self.members.push(Member { start, key_end, end: out.len() });
                if self.pass(b'}') {
                    break;
                }
                if !self.pass(b',') {
                    return Err(Unstorable::Malformed);
                }
                out.push(b',');
            }
        }
        let order = |out: &[u8], a: &Member, b: &Member| {
            let (a, b) = (&out[a.start..a.key_end], &out[b.start..b.key_end]);
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        };
        if !self.members[first..].is_sorted_by(|a, b| order(out, a, b) == Ordering::Less) {
            let written = out.split_off(body);
            // places count from the start of `out`: what was cut off is looked at where it was
            let shifted = |member: &Member| Member {
                start: member.start - body,
                key_end: member.key_end - body,
                end: member.end - body,
            };
            let mut members: Vec<_> = self.members[first..].iter().map(shifted).collect();
            members.sort_by(|a, b| order(&written, a, b));
            for (at, member) in members.iter().enumerate() {
                let next = members.get(at + 1);
                if next.is_some_and(|next| order(&written, member, next) == Ordering::Equal) {
                    continue; // the last of a key counts
                }
                if out.len() > body {
                    out.push(b',');
                }
                out.extend_from_slice(&written[member.start..member.end]);
            }
        }
        self.members.truncate(first);
        out.push(b'}');
        Ok(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Unstorable> {
        self.at += 1;
        out.push(b'[');
        if !self.pass(b']') {
            loop {
                self.value(out, depth)?;
                if self.pass(b']') {
                    break;
                }
                if !self.pass(b',') {
                    return Err(Unstorable::Malformed);
                }
                out.push(b',');
            }
        }
        out.push(b']');
        Ok(())
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Unstorable> {
        let bytes = self.token.as_bytes();
        if self.peek() != Some(b'"') {
            return Err(Unstorable::Malformed);
        }
        let start = self.at;
        let (mut end, mut has_escapes) = (start + 1, false);
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    end += 2;
                }
                Some(_) => end += 1,
                None => return Err(Unstorable::Malformed),
            }
        }
        self.at = end + 1;
        let string = &bytes[start..self.at];
        if !has_escapes {
            out.extend_from_slice(string);
            return Ok(());
        }
        let text: String = serde_json::from_slice(string).map_err(|_| Unstorable::LoneSurrogate)?;
        if text.contains('\0') {
            return Err(Unstorable::NulCharacter);
        }
        serde_json::to_writer(out, &text).map_err(|_| Unstorable::Malformed)
    }

    fn number(&mut self, out: &mut Vec<u8>) -> Result<(), Unstorable> {
        let rest = &self.token.as_bytes()[self.at..];
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
        let length = rest.iter().take_while(is_part).count();
        let number = &self.token[self.at..self.at + length];
        self.at += length;
        let is_plain = |bytes: &[u8]| bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        // the shortest form has three characters, so that these are always written out
        if length <= 3 + SPARE_DIGITS && is_plain(number.as_bytes()) {
            out.extend_from_slice(number.as_bytes());
            return Ok(());
        }
        let before = out.len();
        self.longer += write_number(out, number)? - (out.len() - before);
        Ok(())
    }

    fn word(&mut self, out: &mut Vec<u8>) -> Result<(), Unstorable> {
        let rest = &self.token[self.at..];
        let word = ["null", "true", "false"].into_iter().find(|word| rest.starts_with(word));
        let word = word.ok_or(Unstorable::Malformed)?;
        self.at += word.len();
        out.extend_from_slice(word.as_bytes());
        Ok(())
    }
}

/// Writes a number by what `numeric` keeps of it: its value, and how many digits are shown behind the point. Returns how long it
/// is written out, in bytes.
fn write_number(out: &mut Vec<u8>, number: &str) -> Result<usize, Unstorable> {
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], number[at + 1..].parse::<i32>().map_err(|_| Unstorable::Number)?),
        None => (number, 0),
    };
    if number.len() > MAX_NUMBER || !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent) {
        return Err(Unstorable::Number);
    }
    let (sign, unsigned) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = [whole, fraction].concat();
    let mut digits = digits.trim_start_matches('0');
    let sign = if digits.is_empty() { "" } else { sign };
    // the value is `digits` times ten to the power of `power`; digits behind the point are shown even where they are zeros
    let mut power = exponent - fraction.len() as i32;
    if digits.is_empty() {
        (digits, power) = ("0", power.min(0));
    } else if power >= 0 {
        let kept = digits.trim_end_matches('0');
        power += (digits.len() - kept.len()) as i32;
        digits = kept;
    }
    out.extend_from_slice(sign.as_bytes());
    let shift = power.unsigned_abs() as usize;
    let short = if power == 0 { 0 } else { power.to_string().len() + 1 } + digits.len();
    let long = match power {
        0.. => digits.len() + shift,
        _ => digits.len().max(shift + 1) + 1,
    };
    if sign.len() + long > MAX_NUMBER {
        return Err(Unstorable::Number);
    }
    if long > short + SPARE_DIGITS {
        out.extend_from_slice(format!("{digits}e{power}").as_bytes());
    } else if power >= 0 {
        out.extend_from_slice(digits.as_bytes());
        out.resize(out.len() + shift, b'0');
    } else if let Some(whole) = digits.len().checked_sub(shift).filter(|whole| *whole > 0) {
        out.extend_from_slice(format!("{}.{}", &digits[..whole], &digits[whole..]).as_bytes());
    } else {
        out.extend_from_slice(format!("0.{digits:0>shift$}").as_bytes());
    }
    Ok(sign.len() + long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(token: &str) -> String {
        canonical(token).expect(token).into_owned()
    }

    #[test]
    fn spellings_of_one_object_become_one() {
        let wanted = r#"{"a":1,"b":[true,null,{"d":"é\n/"}],"aa":"x"}"#;
        for token in [
            r#"{"aa": "x", "b": [true, null, {"d": "é\n/"}], "a": 1}"#,
            "{\"b\":[true,null,{\"d\":\"\\u00e9\\u000a\\/\"}],\n\t\"aa\":\"\\u0078\",\"a\":1}",
            r#"{"a": {"z": 0}, "a": 2, "b": [true, null, {"d": 1, "d": "é\n/"}], "aa": "x", "a": 1}"#,
            wanted,
        ] {
            assert_eq!(of(token), wanted, "{token}");
        }
        assert!(matches!(canonical(wanted), Ok(Cow::Borrowed(_))), "nothing is copied that has the form");
        assert_eq!(of("{ }"), "{}");
        assert_eq!(of(r#"{"b":{},"a":[ ]}"#), r#"{"a":[],"b":{}}"#);
    }

    #[test]
    fn numbers_are_what_numeric_keeps_of_them() {
        for (token, wanted) in [
            ("1e2", "100"),
            ("100", "100"),
            ("1E+2", "100"),
            ("1.0", "1.0"),
            ("1.00e1", "10.0"),
            ("1.5e3", "1500"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("0e9", "0"),
            ("0e-2", "0.00"),
            ("0.0e1", "0"),
            ("-1e-2", "-0.01"),
            ("12345678.90", "12345678.90"),
            ("1234567890e-2", "12345678.90"),
            ("1700000000001", "1700000000001"),
            ("1e300", "1e300"),
            ("1e-300", "1e-300"),
            ("0.00000000000000000000000000000000000000000010", "10e-44"),
            ("10000000000000000000000000000000", "1e31"),
            ("100000e26", "1e31"),
            (format!("1{}", "0".repeat(300)).as_str(), "1e300"),
            (format!("0.{}1", "0".repeat(299)).as_str(), "1e-300"),
        ] {
            assert_eq!(of(&format!("[{token}]")), format!("[{wanted}]"), "{token}");
        }
    }

    #[test]
    fn what_jsonb_refuses_is_refused() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(canonical(&deep(32)).is_ok());
        for (token, why) in [
            (deep(33).as_str(), Unstorable::TooDeep),
            (r#"["\u0000"]"#, Unstorable::NulCharacter),
            (r#"{"\u0000": 1}"#, Unstorable::NulCharacter),
            (r#"["\ud800"]"#, Unstorable::LoneSurrogate),
            ("[1e301]", Unstorable::Number),
            ("[1e-99999999999]", Unstorable::Number),
            (format!("[{}]", "9".repeat(1_001)).as_str(), Unstorable::Number),
            ("[1] 2", Unstorable::Malformed),
            ("[1", Unstorable::Malformed),
            (r#"{"a""#, Unstorable::Malformed),
            (r#"["a\"#, Unstorable::Malformed),
            ("[é]", Unstorable::Malformed),
            ("", Unstorable::Malformed),
        ] {
            assert_eq!(canonical(token), Err(why), "{token}");
        }
    }

    #[test]
    fn what_is_too_long_when_it_is_written_out_is_refused() {
        // what one takes written out, and its comma
        for (number, bytes) in
            [("1e300", 301), ("-1e-300", 303), ("1.5e20", 21), ("1234567.5", 9), ("7", 1), ("\"\\u0061\"", 3)]
        {
            let of = |count: usize| canonical(&format!("[{}]", vec![number; count].join(", "))).map(drop);
            let most = (MAX_BYTES - 1) / (bytes + 1);
            assert_eq!((of(most), of(most + 1)), (Ok(()), Err(Unstorable::TooLong)), "{number}");
        }
        assert!(Unstorable::TooLong.to_string().ends_with(&format!(" {} KiB", MAX_BYTES >> 10)));
    }

    #[test]
    fn what_is_counted_is_what_jsonb_writes() {
        // the texts on the right are PostgreSQL's, but for its spaces
        for (token, written) in [
            ("[1e3,1.50,1e-5,-0,-0.00,-0e-3]", "[1000,1.50,0.00001,0,0.00,0.000]"),
            ("[1.00e1,1.50e1,0e9,0e-2,0.0e1]", "[10.0,15.0,0,0.00,0]"),
            ("[100e-1,1.5e-7,-1e-2,1234567.50]", "[10.0,0.00000015,-0.01,1234567.50]"),
            ("[1e21,-12e18]", "[1000000000000000000000,-12000000000000000000]"),
            (r#"{ "b" : "\u0041\/\u00e9", "a" : [ ] }"#, r#"{"a":[],"b":"A/é"}"#),
            (r#"["\u0007\u001f\u007f\t\u000a\"\\"]"#, "[\"\\u0007\\u001f\u{7f}\\t\\n\\\"\\\\\"]"),
            (r#"["\ud83d\ude00"]"#, "[\"\u{1F600}\"]"),
        ] {
            let (_, bytes) = spelled(token).expect(token);
            assert_eq!((bytes, of(token)), (written.len(), of(written)), "{token}");
        }
    }

    #[test]
    fn spaces_go_but_for_those_of_strings() {
        for (text, wanted) in [
            (
                r#"{"a": [1, "x, y: \" , z", {"b": null}], "c d": ""}"#,
                r#"{"a":[1,"x, y: \" , z",{"b":null}],"c d":""}"#,
            ),
            (r#"{"\\": "\\", "é ü": " é "}"#, r#"{"\\":"\\","é ü":" é "}"#),
            (r#"["\\\"", "\\\\", ": ", {"a, b": -1.50}]"#, r#"["\\\"","\\\\",": ",{"a, b":-1.50}]"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#""not \"#, r#""not \"#),
            ("{}", "{}"),
        ] {
            assert_eq!(without_spaces(text), wanted);
        }
    }

    /// A JSON value and another spelling of the same.
    fn twins() -> impl Strategy<Value = (String, String)> {
        let leaf = prop_oneof![
            Just(("null".to_owned(), " null".to_owned())),
            any::<i32>().prop_map(|n| (n.to_string(), format!("{n}e0"))),
            (1..1_000_u32, 0..40_usize).prop_map(|(n, e)| (format!("{n}e{e}"), format!("{n}{:0<e$}", ""))),
            "[ -~é\u{1F600}]{0,9}".prop_map(|text| {
                let escape = |unit: u16| format!("\\u{unit:04x}");
                let escaped: String = text.encode_utf16().map(escape).collect();
                (serde_json::to_string(&text).expect("a string"), format!("\"{escaped}\""))
            }),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| {
                    let (one, other): (Vec<_>, Vec<_>) = items.into_iter().unzip();
                    (format!("[{}]", one.join(",")), format!("[ {} ]", other.join(" ,\t")))
                }),
                prop::collection::btree_map("[a-c\"é]{0,3}", inner, 0..6).prop_map(|members| {
                    let member = |key: &String, value: &str, gap: &str| {
                        format!("{}{gap}:{gap}{value}", serde_json::to_string(key).expect("a key"))
                    };
                    let one: Vec<_> = members.iter().map(|(key, value)| member(key, &value.0, "")).collect();
                    let mut other: Vec<_> = members.iter().map(|(key, value)| member(key, &value.1, " ")).collect();
                    other.reverse();
                    // what is overwritten further on does not count
                    let shadow = members.keys().next().map(|key| member(key, "[7]", ""));
                    let other: Vec<_> = shadow.into_iter().chain(other).collect();
                    (format!("{{{}}}", one.join(",")), format!("{{{}}}", other.join(", ")))
                }),
            ]
        })
    }

    /// What a text says, numbers roughly: they are read as floats.
    fn meaning(text: &str) -> serde_json::Value {
        fn level(value: &mut serde_json::Value) {
            match value {
                serde_json::Value::Number(number) => *value = number.as_f64().map(|number| number as f32).into(),
                serde_json::Value::Array(items) => items.iter_mut().for_each(level),
                serde_json::Value::Object(members) => members.values_mut().for_each(level),
                _ => {}
            }
        }
        let mut value = serde_json::from_str(text).expect(text);
        level(&mut value);
        value
    }

    /// A number as it is written by hand: its digits, with the point moved by `exponent`.
    fn by_hand(is_negative: bool, whole: &str, fraction: &str, exponent: i32) -> String {
        let shown = usize::try_from(fraction.len() as i32 - exponent).unwrap_or(0);
        let zeros = usize::try_from(exponent - fraction.len() as i32).unwrap_or(0);
        let digits = format!("{:0>shown$}{whole}{fraction}{:0<zeros$}", "", "");
        let (before, behind) = digits.split_at(digits.len() - shown);
        let before = match before.trim_start_matches('0') {
            "" => "0",
            digits => digits,
        };
        let sign = if is_negative && digits.contains(|digit| digit != '0') { "-" } else { "" };
        format!("{sign}{before}{}{behind}", if shown > 0 { "." } else { "" })
    }

    proptest! {
        #[test]
        fn numbers_are_counted_as_they_are_written_by_hand(
            (is_negative, whole, fraction) in (any::<bool>(), "0|[1-9][0-9]{0,11}", "[0-9]{0,11}"),
            exponent in -40..40_i32,
        ) {
            let sign = if is_negative { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let token = format!("{sign}{whole}{point}{fraction}e{exponent}");
            let written = by_hand(is_negative, &whole, &fraction, exponent);
            let (canon, bytes) = spelled(&token).expect("a number");
            prop_assert_eq!(bytes, written.len(), "{} is {}", token, written);
            prop_assert_eq!((canon, bytes), spelled(&written).expect("a number"));
        }

        #[test]
        fn twins_become_one((one, other) in twins()) {
            let canon = of(&one);
            prop_assert_eq!(&canon, &of(&other));
            prop_assert!(matches!(canonical(&canon), Ok(Cow::Borrowed(_))), "{} is its own form", canon);
            prop_assert!(canon.len() <= 2 * one.len());
            prop_assert_eq!(meaning(&one), meaning(&canon));
            prop_assert_eq!(meaning(&one), meaning(&without_spaces(&other)));
        }

        #[test]
        fn no_text_panics(text in any::<String>(), around in "[\\[\\]{}:,\"\\\\0-9.eE+ -]{0,20}") {
            let _ = (canonical(&text), canonical(&around), without_spaces(&text), without_spaces(&around));
        }
    }
}
