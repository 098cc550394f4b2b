//! The table of keys: what can be configured, with its default as it would be written. The table of deploy/REFERENCE.md is
//! compared with it, and reading starts from its defaults, so that neither can tell a different story.

/// How a value is written in the file. In the environment everything is text, and a list has commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    Text,
    Integer,
    Number,
    Flag,
    Texts,
    Integers,
}

impl KeyForm {
    pub fn is_list(self) -> bool {
        match self {
            Self::Texts | Self::Integers => true,
            Self::Text | Self::Integer | Self::Number | Self::Flag => false,
        }
    }

    /// What is allowed in the file, in words.
    pub fn allowed(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::Texts => "an array of strings",
            Self::Integers => "an array of whole numbers",
        }
    }
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigKey {
    /// `<section>.<key>`, or a key of no section; `<name>` stands for a merchant's name, or a profile's.
    pub name: &'static str,
    pub form: KeyForm,
    /// As it would be written in the environment; `None`: there is none.
    pub default: Option<&'static str>,
    pub doc: &'static str,
    /// Never shown, and may be read from the file that `<VARIABLE>_FILE` names.
    pub secret: bool,
    /// The usual short name of its variable.
    pub short: Option<&'static str>,
}

impl ConfigKey {
    const fn new(
        name: &'static str,
        form: KeyForm,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        Self { name, form, default, doc, secret: false, short: None }
    }

    const fn secret(name: &'static str, form: KeyForm, doc: &'static str) -> Self {
        Self { name, form, default: None, doc, secret: true, short: None }
    }

    const fn or_variable(mut self, variable: &'static str) -> Self {
        self.short = Some(variable);
        self
    }

    /// The long name of its variable: `JENIUS_PAY__<SECTION>__<KEY>`.
    pub fn variable(&self) -> String {
        variable_of(self.name)
    }
}

pub fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "__").to_ascii_uppercase())
}

/// Every variable that starts like this is ours.
pub const PREFIX: &str = "JENIUS_PAY__";
/// The file that a variable with this at its end names holds a secret.
pub const FILE_SUFFIX: &str = "_FILE";

/// Every key, in the order of the sections.
pub fn keys() -> &'static [ConfigKey] {
    KEYS
}

/// The row of the table for a full name; a merchant's or a profile's key is found by its template.
pub fn key(name: &str) -> Option<&'static ConfigKey> {
    let template = split_name(name).map(|(section, _, member)| format!("{section}.<name>.{member}"));
    let wanted = template.as_deref().unwrap_or(name);
    keys().iter().find(|key| key.name == wanted)
}

/// Sections whose members have names of their own, and what such a member is.
pub const NAMED: [(&str, &str); 2] = [("merchants", "merchant"), ("settlement.profile", "profile")];

/// `merchants.shop.client_id` apart: its section, the name of its own, and the key. `None`: it has no name of its own.
pub fn split_name(name: &str) -> Option<(&'static str, &str, &str)> {
    NAMED.into_iter().find_map(|(section, _)| {
        let (own, member) = name.strip_prefix(section)?.strip_prefix('.')?.split_once('.')?;
        Some((section, own, member))
    })
}

use KeyForm::{Flag, Integer, Integers, Number, Text, Texts};

const KEYS: &[ConfigKey] = &[
    ConfigKey::secret("database.url", Text, "PostgreSQL, `postgres://…`").or_variable("DATABASE_URL"),
    ConfigKey::new("database.ca_file", Text, None, "PEM: authorities beside the system's"),
    ConfigKey::new("database.max_connections", Integer, Some("16"), "connections of one process"),
    ConfigKey::secret("amqp.url", Texts, "RabbitMQ, `amqp://…` or `amqps://…`; several are tried in turn")
        .or_variable("AMQP_URL"),
    ConfigKey::new("amqp.ca_file", Text, None, "PEM, authorities beside the system's"),
    ConfigKey::new("amqp.prefix", Text, Some("jenius"), "first word of every exchange and queue"),
    ConfigKey::new("amqp.prefetch", Integer, Some("256"), "deliveries in hand for each consumer"),
    ConfigKey::new(
        "amqp.sources",
        Texts,
        Some(""),
        "`user=source;payment;shop`: who sends for a source, which kind, for which merchants",
    ),
    ConfigKey::new("doku.environment", Text, Some("sandbox"), "`sandbox` or `production`"),
    ConfigKey::new("doku.base_url", Text, None, "by environment; `production` needs https")
        .or_variable("DOKU_BASE_URL"),
    ConfigKey::new("doku.insecure_http", Flag, Some("false"), "plain http to another machine, for trying"),
    ConfigKey::new("doku.client_id", Text, None, "the `default` merchant's Client-Id")
        .or_variable("DOKU_CLIENT_ID"),
    ConfigKey::secret("doku.secret_key", Text, "the `default` merchant's key").or_variable("DOKU_SECRET_KEY"),
    ConfigKey::secret("doku.previous_secret_keys", Texts, "they verify, and never sign"),
    ConfigKey::new("doku.connect_timeout_ms", Integer, Some("3000"), "at most `doku.timeout_ms`"),
    ConfigKey::new("doku.timeout_ms", Integer, Some("30000"), "one request, all of it"),
    ConfigKey::new("doku.notification_path", Text, Some("/payments/notifications"), "as the outside sees it"),
    ConfigKey::new("doku.previous_notification_paths", Texts, Some(""), "still accepted"),
    ConfigKey::new(
        "doku.trust_response",
        Flag,
        Some("false"),
        "a synchronous Success is a confirmed payment",
    ),
    ConfigKey::new(
        "doku.match_request_id",
        Flag,
        Some("true"),
        "a report that names another request decides nothing",
    ),
    ConfigKey::new(
        "doku.snap.public_key_files",
        Texts,
        Some(""),
        "PEM: DOKU's public keys, current and previous; they verify RSA signatures and token requests",
    ),
    ConfigKey::new(
        "doku.snap.token",
        Text,
        Some("any"),
        "`any`, or `issued`: SNAP notifications need a token of ours",
    ),
    ConfigKey::new("doku.response_signature", Text, Some("required"), "`required` or `tls_only`"),
    ConfigKey::new(
        "doku.requests_per_second",
        Integer,
        Some("0"),
        "per merchant, all processes together; 0: no limit",
    ),
    ConfigKey::new("doku.concurrency", Integer, Some("128"), "requests under way, per merchant"),
    ConfigKey::new("merchants.<name>.client_id", Text, None, "a further account's Client-Id"),
    ConfigKey::secret("merchants.<name>.secret_key", Text, "its key"),
    ConfigKey::secret("merchants.<name>.previous_secret_keys", Texts, "they verify, and never sign"),
    ConfigKey::new("retry.initial_ms", Integer, Some("500"), "the first wait between attempts"),
    ConfigKey::new("retry.multiplier", Number, Some("2.0"), "each wait is this many times the one before"),
    ConfigKey::new("retry.jitter", Number, Some("0.5"), "the share of a wait that chance adds or takes"),
    ConfigKey::new("retry.max_interval_ms", Integer, Some("300000"), "no wait is longer"),
    ConfigKey::new(
        "retry.payment_max_elapsed_ms",
        Integer,
        Some("900000"),
        "no send starts later after the command's `time`, or after the claim where it has none",
    ),
    ConfigKey::new(
        "retry.refund_max_elapsed_ms",
        Integer,
        Some("86400000"),
        "no send starts later after the claim",
    ),
    ConfigKey::new(
        "check.first_after_ms",
        Integer,
        Some("60000"),
        "the first Check Status after the last send, and after the first that left a command in doubt",
    ),
    ConfigKey::new("check.max_interval_ms", Integer, Some("3600000"), "intervals double up to this"),
    ConfigKey::new(
        "check.not_found_grace_ms",
        Integer,
        Some("3900000"),
        "before it a not-found proves nothing",
    ),
    ConfigKey::new("check.give_up_after_ms", Integer, Some("259200000"), "then a person must decide"),
    ConfigKey::new(
        "check.afterwards_ms",
        Integers,
        Some("3600000,21600000,86400000"),
        "inquiries of orders that are done; empty: none",
    ),
    ConfigKey::new(
        "breaker.failures",
        Integer,
        Some("20"),
        "consecutive failures of DOKU that stop sends; inquiries that hang stop inquiries alike",
    ),
    ConfigKey::new("breaker.open_ms", Integer, Some("15000"), "until one send probes"),
    ConfigKey::new("ingress.listen", Text, Some("127.0.0.1:8080"), "notifications come here"),
    ConfigKey::new("admin.listen", Text, Some("127.0.0.1:9464"), "`/metrics`, `/livez`, `/readyz`"),
    ConfigKey::new(
        "console.listen",
        Text,
        Some("127.0.0.1:9470"),
        "the operators' pages; with `local` this machine alone",
    ),
    ConfigKey::new("console.public_url", Text, None, "`https://…`: the console as the browser sees it"),
    ConfigKey::new("console.read_only", Flag, Some("false"), "pages show, and change nothing"),
    ConfigKey::new(
        "console.auth",
        Text,
        Some("local"),
        "`local`: `console login` prints an address; `proxy`: a proxy authenticates; `oidc`: a provider does",
    ),
    ConfigKey::new("console.proxy.user_header", Text, None, "the header with the person's name"),
    ConfigKey::new(
        "console.proxy.groups_header",
        Text,
        None,
        "the header with the groups, separated by commas",
    ),
    ConfigKey::new(
        "console.proxy.secret_file",
        Text,
        None,
        "a file with what the proxy sends as `X-Jenius-Console-Secret`",
    ),
    ConfigKey::new(
        "console.proxy.from",
        Texts,
        Some(""),
        "the proxy's addresses or networks; no other peer is answered",
    ),
    ConfigKey::new("console.oidc.issuer", Text, None, "the provider, as its tokens name it"),
    ConfigKey::new("console.oidc.client_id", Text, None, "the console's name at the provider"),
    ConfigKey::new("console.oidc.client_secret_file", Text, None, "a file with its secret there"),
    ConfigKey::new(
        "console.oidc.scopes",
        Texts,
        Some("openid,profile,email"),
        "what is asked for; some providers give groups by a scope of their own",
    ),
    ConfigKey::new(
        "console.oidc.name_claim",
        Text,
        Some("preferred_username"),
        "the claim of the ID token with the person's name",
    ),
    ConfigKey::new(
        "console.oidc.groups_claim",
        Text,
        Some("groups"),
        "the claim with the groups; `a.b` leads into `a`",
    ),
    ConfigKey::new("console.roles.viewer", Texts, Some(""), "groups that may look"),
    ConfigKey::new("console.roles.support", Texts, Some(""), "and show the customer of an order"),
    ConfigKey::new(
        "console.roles.finance",
        Texts,
        Some(""),
        "and bring settlement files in and close breaks",
    ),
    ConfigKey::new(
        "console.roles.operator",
        Texts,
        Some(""),
        "and ask DOKU, publish events again, pause and resume, replay and drop dead letters, run the checks of `doctor`",
    ),
    ConfigKey::new(
        "console.roles.decider",
        Texts,
        Some(""),
        "and decide about orders in review, drop dead letters",
    ),
    ConfigKey::new(
        "console.second_person_above",
        Integer,
        None,
        "rupiah: a decision about more needs two people; needs `proxy` or `oidc`",
    ),
    ConfigKey::new(
        "settlement.due_days",
        Integer,
        Some("3"),
        "working days until a pay-out is late: DOKU's 2, and 1",
    ),
    ConfigKey::new("settlement.holidays", Texts, Some(""), "`YYYY-MM-DD`: days without work beside weekends"),
    ConfigKey::new(
        "settlement.fees",
        Texts,
        Some(""),
        "`2026-01-01;fixed=1500;percent=0.7;vat=11;round=nearest`: valid from that day; empty: fees are not compared",
    ),
    ConfigKey::new(
        "settlement.keep_files_days",
        Integer,
        Some("90"),
        "then `prune` empties files as they came; those in `done` and `refused` are yours to remove",
    ),
    ConfigKey::new("settlement.watch_dir", Text, None, "follow-up imports the files that are put there"),
    ConfigKey::new("settlement.profile.<name>.merchant", Text, None, "the merchant of files of this form"),
    ConfigKey::new(
        "settlement.profile.<name>.columns",
        Texts,
        Some(""),
        "`invoice=NO. ORDER`: headings that differ; also amount, fee, discount, net, transaction, paid_out, channel, type, \
         sub_account, batch",
    ),
    ConfigKey::new(
        "settlement.profile.<name>.separator",
        Text,
        None,
        "`comma`, `semicolon`, `tab` or `pipe`; else it is found",
    ),
    ConfigKey::new("settlement.profile.<name>.decimal", Text, Some("."), "the decimal mark, `.` or `,`"),
    ConfigKey::new("settlement.profile.<name>.thousands", Text, Some(","), "the thousands mark, or `none`"),
    ConfigKey::new(
        "settlement.profile.<name>.dates",
        Texts,
        Some("DD-MM-YYYY,YYYY-MM-DD,DD/MM/YYYY,DD MMM YYYY"),
        "forms of dates",
    ),
    ConfigKey::new("settlement.profile.<name>.zone", Text, Some("+07:00"), "in which a day begins and ends"),
    ConfigKey::new(
        "settlement.profile.<name>.channels",
        Texts,
        None,
        "words in the names of our channel; else `jenius`; `*`: all",
    ),
    ConfigKey::new(
        "settlement.profile.<name>.other_channels",
        Texts,
        None,
        "words in other channels' names; else the usual ones",
    ),
    ConfigKey::new(
        "settlement.profile.<name>.purchase_words",
        Texts,
        None,
        "types that are payments; else the usual ones",
    ),
    ConfigKey::new(
        "settlement.profile.<name>.refund_words",
        Texts,
        None,
        "types that are refunds; else the usual ones",
    ),
    ConfigKey::new(
        "settlement.profile.<name>.split",
        Flag,
        Some("false"),
        "rows of a split settlement are summed up and compared",
    ),
    ConfigKey::new(
        "settlement.profile.<name>.rhythm",
        Text,
        Some("unknown"),
        "`daily`, `twice_a_month` or `monthly`: a batch that does not come is reported",
    ),
    ConfigKey::new(
        "time_zone",
        Text,
        Some("Asia/Jakarta"),
        "how times are shown to people, by its IANA name",
    ),
    ConfigKey::new("shutdown.drain_ms", Integer, Some("35000"), "how long a stop waits for what is in hand"),
];
