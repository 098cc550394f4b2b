//! Settlement: when a pay-out is late, what DOKU may keep, and how files are written.

use super::{
    load::Reader,
    parse::{self, Parsed, whole_number},
};
use crate::domain::{
    ids::MerchantName,
    settlement::{
        amount::Marks,
        calendar::{Calendar, Rhythm},
        case::Rules,
        dates::DateForm,
        fees::FeeRule,
        profile::{BUILT_IN, Column, Profile},
    },
};
use chrono::FixedOffset;
use std::{collections::BTreeMap, path::PathBuf};

/// Years of holidays.
const HOLIDAYS_MAX: usize = 1000;
const FEES_MAX: usize = 100;
const WORDS_MAX: usize = 100;
const WORD_CHARS_MAX: usize = 100;
const FORMS_MAX: usize = 16;

/// All that is configured of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SettlementConfig {
    pub calendar: Calendar,
    pub fees: Vec<FeeRule>,
    pub keep_files_days: u32,
    pub watch_dir: Option<PathBuf>,
    /// By name, the built-in one among them.
    pub profiles: BTreeMap<String, Profile>,
}

impl SettlementConfig {
    /// The profile of a name; where none is named the merchant's own, else the built-in one.
    pub fn profile(&self, name: Option<&str>, merchant: Option<&MerchantName>) -> Option<&Profile> {
        match name {
            Some(name) => self.profiles.get(name),
            None => merchant.and_then(|name| self.own_profile(name)).or_else(|| self.profiles.get(BUILT_IN)),
        }
    }

    /// The profile that is a merchant's alone.
    pub fn own_profile(&self, merchant: &MerchantName) -> Option<&Profile> {
        self.profiles.values().find(|profile| profile.merchant.as_ref() == Some(merchant))
    }

    /// What a profile's rows are judged by.
    pub fn rules(&self, profile: &Profile) -> Rules {
        Rules { calendar: self.calendar.clone(), fees: self.fees.clone(), split: profile.split }
    }
}

pub fn read(r: &mut Reader<'_>) -> Option<SettlementConfig> {
    let day = |text: &str| text.trim().parse().map_err(|_| "not a day; allowed: YYYY-MM-DD".to_owned());
    let mut profiles = BTreeMap::from([(BUILT_IN.to_owned(), Profile::doku())]);
    for name in r.given.names("settlement.profile") {
        profiles.insert(name.to_string(), read_profile(r, name.as_str())?);
    }
    Some(SettlementConfig {
        calendar: Calendar {
            holidays: r.list("settlement.holidays", HOLIDAYS_MAX, day).into_iter().collect(),
            due_days: r.get("settlement.due_days", whole_number(0..=60))?,
        },
        fees: r.list("settlement.fees", FEES_MAX, FeeRule::parse),
        keep_files_days: r.get("settlement.keep_files_days", whole_number(1..=36_500))?,
        watch_dir: r.get("settlement.watch_dir", directory),
        profiles,
    })
}

fn read_profile(r: &mut Reader<'_>, name: &str) -> Option<Profile> {
    let key = |member: &str| format!("settlement.profile.{name}.{member}");
    let usual = Profile::doku();
    let marks = Marks {
        decimal: r.get(&key("decimal"), mark)?,
        thousands: r
            .get(&key("thousands"), |text| if text == "none" { Ok(None) } else { mark(text).map(Some) })?,
    };
    if marks.thousands == Some(marks.decimal) {
        let problem = "the same as the decimal mark; allowed: another, or none";
        r.clash([&key("thousands"), &key("decimal")], problem);
    }
    Some(Profile {
        name: name.to_owned(),
        merchant: r.get(&key("merchant"), |text| {
            MerchantName::parse(text).map_err(|e| format!("not a merchant's name; allowed: {}", e.allowed))
        }),
        columns: r.list(&key("columns"), WORDS_MAX, column),
        separator: r.get(&key("separator"), separator),
        marks,
        dates: r.list(&key("dates"), FORMS_MAX, date_form),
        zone: r.get(&key("zone"), zone)?,
        channels: words(r, &key("channels"), usual.channels),
        other_channels: words(r, &key("other_channels"), usual.other_channels),
        purchase_words: words(r, &key("purchase_words"), usual.purchase_words),
        refund_words: words(r, &key("refund_words"), usual.refund_words),
        split: r.get(&key("split"), parse::flag)?,
        rhythm: r.get(&key("rhythm"), rhythm)?,
    })
}

/// The usual ones where none are given.
fn words(r: &mut Reader<'_>, key: &str, usual: Vec<String>) -> Vec<String> {
    if r.is_given(key) { r.list(key, WORDS_MAX, word) } else { usual }
}

fn date_form(text: &str) -> Parsed<DateForm> {
    let allowed = "no date form; allowed: DD, MM or MMM, YYYY with - / . or a space between";
    DateForm::parse(text).ok_or_else(|| allowed.to_owned())
}

fn directory(text: &str) -> Parsed<PathBuf> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("no absolute path; allowed: a directory, from /".to_owned())
    }
}

fn column(text: &str) -> Parsed<(Column, String)> {
    let named = text
        .split_once('=')
        .and_then(|(column, heading)| Some((Column::from_name(column.trim())?, word(heading).ok()?)));
    named.ok_or_else(|| {
        let names = Column::ALL.map(Column::name).join(", ");
        format!("no column; allowed: `column=HEADING` with one of {names}")
    })
}

fn word(text: &str) -> Parsed<String> {
    let text = text.trim();
    let fits = (1..=WORD_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("not 1–{WORD_CHARS_MAX} visible characters; allowed: a word or some"))
    }
}

fn separator(text: &str) -> Parsed<u8> {
    match text {
        "comma" => Ok(b','),
        "semicolon" => Ok(b';'),
        "tab" => Ok(b'\t'),
        "pipe" => Ok(b'|'),
        _ => Err("unknown; allowed: comma, semicolon, tab, pipe".to_owned()),
    }
}

fn mark(text: &str) -> Parsed<char> {
    match text {
        "." => Ok('.'),
        "," => Ok(','),
        " " => Ok(' '),
        _ => Err("no mark; allowed: a point, a comma or a space".to_owned()),
    }
}

fn zone(text: &str) -> Parsed<FixedOffset> {
    text.parse().map_err(|_| "no offset from UTC; allowed: +07:00".to_owned())
}

fn rhythm(text: &str) -> Parsed<Rhythm> {
    Rhythm::ALL
        .into_iter()
        .find(|rhythm| rhythm.name() == text)
        .ok_or_else(|| format!("unknown; allowed: {}", Rhythm::ALL.map(Rhythm::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, RequiredSections, Source};

    fn load(toml: &str) -> Result<Config, String> {
        let path = std::env::temp_dir().join(format!("jenius-settlement-{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&path, toml).unwrap();
        let loaded = Config::load(&Source::from_process(Some(path.clone())), RequiredSections::NOTHING);
        std::fs::remove_file(path).unwrap();
        loaded.map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_profile_names_what_differs_and_keeps_the_rest() {
        let settlement = load(
            "[settlement]\nholidays = [\"2026-01-01\"]\nfees = [\"2026-01-01;fixed=1500\"]\n\
             [settlement.profile.toko]\nmerchant = \"toko\"\ncolumns = [\"amount=BRUTO\"]\ndecimal = \",\"\nthousands = \".\"\nrhythm = \"daily\"\n\
             [settlement.profile.plain]\n",
        )
        .unwrap()
        .settlement;
        let toko = MerchantName::parse("toko").unwrap();
        let own = settlement.profile(None, Some(&toko)).unwrap();
        assert_eq!((own.name.as_str(), own.rhythm), ("toko", Rhythm::Daily));
        assert_eq!(own.column("bruto"), Some(Column::Amount));
        assert_eq!(own.channels, ["jenius"]);
        assert_eq!(settlement.profile(None, None).unwrap().name, BUILT_IN);
        assert!(settlement.profile(Some("other"), None).is_none());
        assert_eq!(settlement.profile(Some("plain"), None).unwrap().channels, ["jenius"], "nothing differs");
        assert_eq!((settlement.calendar.due_days, settlement.fees.len()), (3, 1));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        for (toml, key) in [
            ("[settlement]\nfees = [\"x\"]", "settlement.fees"),
            ("[settlement]\nholidays = [\"01-01-2026\"]", "settlement.holidays"),
            ("[settlement]\nwatch_dir = \"here\"", "settlement.watch_dir"),
            ("[settlement.profile.a]\ncolumns = [\"x=y\"]", "settlement.profile.a.columns"),
            ("[settlement.profile.a]\nthousands = \".\"", "settlement.profile.a.thousands"),
            ("[settlement.profile.a]\ndates = [\"DMY\"]", "settlement.profile.a.dates"),
            ("[settlement.profile.a]\nother = 1", "settlement.profile.a.other"),
            ("[settlement.profile.A-B]\nsplit = true", "settlement.profile.A-B"),
        ] {
            let snapshot = load(toml).unwrap_err();
            assert!(snapshot.contains(key), "{toml}: {snapshot}");
        }
    }
}
