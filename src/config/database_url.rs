//! What `database.url` may say. Every part of it is used, or refused: what would be ignored in silence (a parameter of
//! another client, a second host) is something that its author relies on.

use super::parse::{Parsed, parse_url};

/// Parameters that are used as PostgreSQL's own clients use them; `options[name]` too.
const PARAMETERS: [&str; 10] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "hostaddr", "port", "dbname", "user", "password"];
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

pub fn database_url(text: &str) -> Parsed<String> {
    if text.contains('#') {
        return Err("it has a `#`; allowed: `%23`, in a password too".to_owned());
    }
    let url = parse_url(text).filter(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    let Some(url) = url else {
        return Err(
            "not a PostgreSQL URL; allowed: postgres://user:password@host:port/database, and in a user or \
                    password `%40` for `@`, `%2F` for `/`, `%3A` for `:`, `%3F` for `?`"
                .to_owned(),
        );
    };
    if url.host_str().is_some_and(|host| host.contains(',')) {
        return Err(ONE_HOST.to_owned());
    }
    let mut unknown = Vec::new();
    for (name, value) in url.query_pairs() {
        if name == "options" || name.starts_with("options[") && name.ends_with(']') {
            continue;
        }
        if !PARAMETERS.contains(&name.as_ref()) {
            unknown.push(if may_be_shown(text, &name) { format!("`{name}`") } else { HIDDEN.to_owned() });
        } else if name == "sslmode" && !SSL_MODES.contains(&value.as_ref()) {
            return Err(format!("no such sslmode; allowed: {}", SSL_MODES.join(", ")));
        } else if matches!(name.as_ref(), "host" | "hostaddr" | "port") && value.contains(',') {
            return Err(ONE_HOST.to_owned());
        } else if name == "port" && value.parse::<u16>().is_err() {
            return Err("no such port; allowed: 1 to 65535".to_owned());
        }
    }
    if unknown.is_empty() {
        return Ok(text.to_owned());
    }
    let allowed = PARAMETERS.join(", ");
    Err(format!("it has a parameter that is not used: {}; allowed: {allowed}, options", unknown.join(", ")))
}

/// Behind a `?` in a password stands the rest of it: then an `@` follows, or there is no `name=`.
fn may_be_shown(text: &str, name: &str) -> bool {
    name.len() <= 40
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        && text
            .split_once('?')
            .is_some_and(|(_, rest)| !rest.contains('@') && rest.contains(&format!("{name}=")))
}

const HIDDEN: &str = "one that is not shown (in a password, `?` is written `%3F`)";
const ONE_HOST: &str =
    "several hosts; allowed: one address that leads to the primary (RUNBOOK, Several database hosts)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_ignored_is_refused_by_its_name_alone() {
        for (url, named) in [
            ("postgres://u:p@h/d?sslpassword=S3CRET", "`sslpassword`"),
            ("postgres://u:p@h/d?cacertfile=/S3CRET", "`cacertfile`"),
            ("postgres://u:p@h/d?target_session_attrs=S3CRET", "`target_session_attrs`"),
            ("postgres://u:p@h/d?application_name=S3CRET&sslmode=require", "`application_name`"),
            ("postgres://u:S3CRET@h/d?sslmode=allow", "sslmode"),
            ("postgres://u:S3CRET@a,b/d", "one address"),
            ("postgres:///d?user=u&password=S3CRET&host=a,b", "one address"),
            ("postgres://u:S3C#RET@h/d", "%23"),
            ("postgres://u:S3CRET@h/d?port=x", "port"),
            ("amqp://u:S3CRET@h/d", "not a PostgreSQL URL"),
            ("postgres://u?S3CRET", "not shown"),
            ("postgres://u:12?s3c_ret@h/d", "%3F"),
            ("postgres://u:12?s3c_ret=@h/d", "%3F"),
        ] {
            let problem = database_url(url).unwrap_err();
            assert!(problem.contains(named) && !problem.to_uppercase().contains("S3C"), "{url}: {problem}");
        }
    }

    #[test]
    fn what_is_used_is_allowed() {
        for url in [
            "postgres://u:p@h:5432/d",
            "postgresql://u@[::1]:5432/d?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres:///d?host=/run/postgresql&user=u&password=p",
            "postgres://u@h/d?options=-c%20search_path%3Dpay&options[work_mem]=8MB",
        ] {
            assert_eq!(database_url(url).as_deref(), Ok(url));
        }
    }
}
