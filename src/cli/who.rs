//! Who acts, and why: for people who ask later. The operating system knows the user; a name that a person gives comes
//! before it. `USER` is not asked: anybody sets it.

use super::UsageError;
use crate::{
    domain::{
        action::{NAME_CHARS_MAX, REASON_CHARS_MAX},
        console::looks_identified,
    },
    shown::is_unsafe,
};
use nix::unistd::{Uid, User, gethostname};

/// Users below are the system's own.
const PERSON_UID_MIN: u32 = if cfg!(target_os = "macos") { 500 } else { 1000 };
/// systemd makes up users of these for services; the last stands for no user.
const SERVICE_UIDS: std::ops::RangeInclusive<u32> = 61_184..=65_535;

/// On every command that changes something.
#[derive(Debug, clap::Args)]
pub struct Who {
    /// Your name. Needed if the operating system knows only root or a service.
    #[arg(long = "as", value_name = "NAME", env = "JENIUS_OPERATOR", value_parser = name)]
    name: Option<Name>,
}

/// `None`: the variable is set, and empty.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name(Option<String>);

/// A user as the operating system has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SystemUser {
    uid: u32,
    /// `None`: it has no entry.
    name: Option<String>,
    has_shell: bool,
}

impl Who {
    /// Who acts, with what the operating system says about that.
    ///
    /// # Errors
    /// Only root or a service is known.
    pub fn operator(&self) -> Result<String, UsageError> {
        let given = self.name.as_ref().and_then(|name| name.0.as_deref());
        let sudo = std::env::var("SUDO_USER").ok().filter(|name| is_name(name));
        let sudo = sudo.and_then(|name| User::from_name(&name).ok().flatten()).map(SystemUser::from_user);
        let host = gethostname().ok().and_then(|host| host.into_string().ok());
        let host = host.filter(|host| is_name(host)).unwrap_or_else(|| "unknown host".to_owned());
        known(given, &SystemUser::current(), sudo.as_ref(), &host).ok_or_else(|| {
            let ask = "nothing was done: say who you are with --as NAME (or JENIUS_OPERATOR); \
                       the operating system knows only";
            UsageError(format!("{ask} {}", SystemUser::current().word()))
        })
    }
}

impl SystemUser {
    /// By the real user id, which no variable changes.
    fn current() -> Self {
        let uid = Uid::current();
        let user = User::from_uid(uid).ok().flatten();
        user.map_or(Self { uid: uid.as_raw(), name: None, has_shell: false }, Self::from_user)
    }

    fn from_user(user: User) -> Self {
        let shell = user.shell.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let has_shell = !matches!(shell, "" | "nologin" | "false" | "nonexistent");
        Self { uid: user.uid.as_raw(), name: Some(user.name).filter(|name| is_name(name)), has_shell }
    }

    /// Its name, if it is a person's.
    fn person(&self) -> Option<&str> {
        let is_person = self.uid >= PERSON_UID_MIN && !SERVICE_UIDS.contains(&self.uid) && self.has_shell;
        self.name.as_deref().filter(|_| is_person)
    }

    fn word(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("user {}", self.uid))
    }
}

/// `ratna (root@pay-1, sudo by ratna)`; `None`: no person is known.
fn known(given: Option<&str>, user: &SystemUser, sudo: Option<&SystemUser>, host: &str) -> Option<String> {
    let by_sudo = sudo.filter(|_| user.uid == 0).and_then(SystemUser::person);
    let name = given.or(user.person()).or(by_sudo)?;
    let sudo = sudo.map(|account| format!(", sudo by {}", account.word())).unwrap_or_default();
    Some(format!("{name} ({}@{host}{sudo})", user.word()))
}

fn name(text: &str) -> Result<Name, String> {
    let text = text.trim();
    match text {
        "" => Ok(Name(None)),
        "root" => Err("allowed: a person's name".to_owned()),
        _ if looks_identified(text) => {
            Err("allowed: a name alone; local:, proxy: and oidc: say who verified it".to_owned())
        }
        _ if is_name(text) => Ok(Name(Some(text.to_owned()))),
        _ => Err(format!("allowed: 1–{NAME_CHARS_MAX} visible characters")),
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(is_unsafe)
}

/// Reads a `--reason`.
pub fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=REASON_CHARS_MAX).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(format!("allowed: 1–{REASON_CHARS_MAX} characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_is_no_novel() {
        assert_eq!(reason(" seen in the back office ").unwrap(), "seen in the back office");
        for bad in ["", "  ", &"x".repeat(REASON_CHARS_MAX + 1)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }

    fn account(uid: u32, name: &str, has_shell: bool) -> SystemUser {
        SystemUser { uid, name: Some(name.to_owned()), has_shell }
    }

    #[test]
    fn who_acts_is_a_person_or_nobody() {
        let (root, ratna) = (account(0, "root", true), account(1000, "ratna", true));
        let service = account(998, "jenius-pay", true);
        let image = account(65532, "jenius", true);
        let no_shell = account(1001, "robot", false);
        let no_entry = SystemUser { uid: 1_000_670_000, name: None, has_shell: false };
        let rows = [
            (None, &ratna, None, Some("ratna (ratna@pay-1)")),
            (None, &root, Some(&ratna), Some("ratna (root@pay-1, sudo by ratna)")),
            (None, &service, Some(&ratna), None),
            (None, &root, Some(&root), None),
            (None, &root, None, None),
            (None, &service, None, None),
            (None, &image, None, None),
            (None, &no_shell, None, None),
            (None, &no_entry, None, None),
            (Some("Budi"), &root, None, Some("Budi (root@pay-1)")),
            (Some("Budi"), &no_entry, None, Some("Budi (user 1000670000@pay-1)")),
            (Some("Budi"), &ratna, Some(&root), Some("Budi (ratna@pay-1, sudo by root)")),
        ];
        for (given, user, sudo, expected) in rows {
            assert_eq!(known(given, user, sudo, "pay-1").as_deref(), expected, "{given:?} {user:?} {sudo:?}");
        }
    }

    #[test]
    fn a_name_is_visible_and_not_root() {
        assert_eq!(name(" Ratna S. "), Ok(Name(Some("Ratna S.".to_owned()))));
        assert_eq!(name(""), Ok(Name(None)));
        for bad in [
            "root",
            "oidc:sari",
            "Proxy:sari",
            "local:sari",
            "a\u{202e}b",
            "a\nb",
            &"x".repeat(NAME_CHARS_MAX + 1),
        ] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
