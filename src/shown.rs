//! What of others' text a person may see: their characters could drive a terminal, hide what stands there, or
//! show it in another order. Beside it how times are written for people.

mod times;

#[cfg(test)]
pub use times::sample;
pub use times::{Times, rfc3339};

/// Whether a character has no place of its own on a line: it controls, turns the writing direction, or has no
/// width. (Marks that belong to a letter are part of writing.)
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Whether colours may be used on what is, or is not, a terminal: a person forbids them by `NO_COLOR`.
pub fn may_colour(is_terminal: bool) -> bool {
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    is_terminal && variable("NO_COLOR").is_empty() && variable("TERM") != "dumb"
}

/// Text for a table or a line: the replacement character stands for each unsafe one.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A whole output of several lines: line ends stay, and so do colours.
pub fn clean_lines(text: &str) -> String {
    replaced(text, true, |_, out| out.push(char::REPLACEMENT_CHARACTER))
}

/// A JSON text that means the same: unsafe characters are escaped. Outside of strings JSON has none but
/// white space, which stays.
pub fn clean_json(text: &str) -> String {
    replaced(text, true, escape)
}

/// A line of a log, its end included. In JSON the escapes mean the same.
pub fn clean_log_line(text: &str) -> String {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let mut clean = replaced(line, false, escape);
    clean.push('\n');
    clean
}

fn escape(c: char, out: &mut String) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

fn replaced(text: &str, many_lines: bool, replace: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let kept = match c {
            '\n' | '\t' if many_lines => 1,
            '\r' if many_lines && rest.starts_with("\r\n") => 2,
            // The line end that follows is the printer's.
            '\r' if many_lines && rest == "\r" => 1,
            '\u{1b}' => colour_len(rest),
            c if is_unsafe(c) => 0,
            c => c.len_utf8(),
        };
        if kept == 0 {
            replace(c, &mut out);
        }
        let (done, after) = rest.split_at(kept.max(c.len_utf8()));
        if kept > 0 {
            out.push_str(done);
        }
        rest = after;
    }
    out
}

/// The length of an escape sequence that only changes colour or weight, as our own output has it; else 0.
fn colour_len(text: &str) -> usize {
    let Some(inside) = text.strip_prefix("\u{1b}[") else { return 0 };
    let length = inside.find(|c: char| !(c.is_ascii_digit() || c == ';')).unwrap_or(inside.len());
    if inside[length..].starts_with('m') { "\u{1b}[".len() + length + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{202e}b\u{200b}c\u{1b}[2Jd\u{9b}e\u{e0041}f\u{feff}";

    #[test]
    fn what_drives_hides_or_turns_text_is_replaced() {
        assert_eq!(clean(HOSTILE), "a\u{fffd}b\u{fffd}c\u{fffd}[2Jd\u{fffd}e\u{fffd}f\u{fffd}");
        assert_eq!(clean("two\nlines\u{2066}"), "two\u{fffd}lines\u{fffd}");
        let plain = "Rp50.000 – café, ราคา, 価格, e\u{301}";
        assert_eq!(
            (clean(plain), clean_lines(plain), clean_json(plain)),
            (plain.into(), plain.into(), plain.into())
        );
    }

    #[test]
    fn lines_and_colours_of_ours_stay() {
        let ours = "\u{1b}[1;31mfail\u{1b}[0m\tx\r\ny\n";
        assert_eq!(clean_lines(ours), ours);
        assert_eq!(clean_lines("\u{1b}]0;title\u{7}\ra"), "\u{fffd}]0;title\u{fffd}\u{fffd}a");
        assert_eq!(clean_lines("a,b\r"), "a,b\r");
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, "\u{7f}"] });
        let clean = clean_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!clean.chars().any(|c| c != '\n' && is_unsafe(c)), "{clean}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&clean).unwrap(), value);
    }

    #[test]
    fn a_log_line_stays_one_line() {
        assert_eq!(clean_log_line("a\nb\u{202e}\n"), "a\\u000ab\\u202e\n");
    }
}
