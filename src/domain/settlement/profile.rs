//! How one sort of settlement file is written: the names of its columns, its separator, marks, dates and words. The
//! built-in profile reads the form that DOKU sends; a merchant whose template differs names what differs.

use super::{super::ids::MerchantName, amount::Marks, calendar::Rhythm, dates::DateForm, row::RowKind};
use chrono::FixedOffset;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    Invoice,
    Amount,
    Fee,
    Discount,
    Net,
    Transaction,
    PaidOut,
    Channel,
    Type,
    SubAccount,
    Batch,
}

impl Column {
    pub const ALL: [Self; 11] = [
        Self::Invoice,
        Self::Amount,
        Self::Fee,
        Self::Discount,
        Self::Net,
        Self::Transaction,
        Self::PaidOut,
        Self::Channel,
        Self::Type,
        Self::SubAccount,
        Self::Batch,
    ];

    /// The word in a profile's `columns`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::Amount => "amount",
            Self::Fee => "fee",
            Self::Discount => "discount",
            Self::Net => "net",
            Self::Transaction => "transaction",
            Self::PaidOut => "paid_out",
            Self::Channel => "channel",
            Self::Type => "type",
            Self::SubAccount => "sub_account",
            Self::Batch => "batch",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }

    /// Headings that mean it, normalised.
    fn synonyms(self) -> &'static [&'static str] {
        match self {
            Self::Invoice => {
                &["INVOICE NUMBER", "INVOICE NO", "INVOICE", "NO INVOICE", "NOMOR INVOICE", "ORDER ID"]
            }
            Self::Amount => &["AMOUNT", "TRANSACTION AMOUNT", "GROSS AMOUNT", "NOMINAL"],
            Self::Fee => &["FEE", "TOTAL FEE", "MDR", "BIAYA"],
            Self::Discount => &["DISCOUNT", "DISKON"],
            Self::Net => &["PAY TO MERCHANT", "NET AMOUNT", "SETTLEMENT AMOUNT"],
            Self::Transaction => {
                &["TRANSACTION DATE", "TRANSACTION DATE TIME", "PAYMENT DATE", "TANGGAL TRANSAKSI"]
            }
            Self::PaidOut => &["PAY OUT DATE", "PAYOUT DATE", "SETTLEMENT DATE", "DISBURSEMENT DATE"],
            Self::Channel => &["PAYMENT CHANNEL NAME", "PAYMENT CHANNEL", "CHANNEL", "PAYMENT METHOD"],
            Self::Type => &["TRANSACTION TYPE", "TYPE"],
            Self::SubAccount => &["SUB ACCOUNT", "SUB ACCOUNT ID", "BANK ACCOUNT SETTLEMENT ID"],
            Self::Batch => &["BATCH ID", "BATCH NUMBER", "BATCH"],
        }
    }
}

/// Whose money a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelOf {
    Ours,
    Other,
    Unknown,
}

/// One sort of file.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub name: String,
    /// Whose files have it; `None`: the import says it.
    pub merchant: Option<MerchantName>,
    /// Headings that a merchant's own template has, before the usual ones.
    pub columns: Vec<(Column, String)>,
    /// `None`: found by the header.
    pub separator: Option<u8>,
    pub marks: Marks,
    pub dates: Vec<DateForm>,
    pub zone: FixedOffset,
    /// Words within a channel's name; `*` stands for every channel.
    pub channels: Vec<String>,
    pub other_channels: Vec<String>,
    pub purchase_words: Vec<String>,
    pub refund_words: Vec<String>,
    /// Rows of a split settlement are summed up and compared.
    pub split: bool,
    pub rhythm: Rhythm,
}

/// Separators that are tried where a profile names none.
pub const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// The name of the built-in profile.
pub const BUILT_IN: &str = "doku";
/// Seconds that Jakarta's clocks are ahead of UTC.
const WIB: i32 = 7 * 3600;

/// Other payment methods of the same account. A method that is in no list is one break of its file.
const OTHER_CHANNELS: [&str; 27] = [
    "virtual account",
    "va",
    "credit card",
    "debit card",
    "kartu kredit",
    "cards",
    "qris",
    "ovo",
    "dana",
    "shopeepay",
    "linkaja",
    "doku wallet",
    "doku e-wallet",
    "e-wallet",
    "emoney",
    "alfa",
    "indomaret",
    "convenience store",
    "direct debit",
    "internet banking",
    "klikpay",
    "octo clicks",
    "danamon online",
    "e-pay bri",
    "kredivo",
    "akulaku",
    "paylater",
];

impl Profile {
    /// The form that DOKU sends.
    pub fn doku() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let dates = ["DD-MM-YYYY", "YYYY-MM-DD", "DD/MM/YYYY", "DD MMM YYYY"];
        Self {
            name: BUILT_IN.to_owned(),
            merchant: None,
            columns: Vec::new(),
            separator: None,
            marks: Marks { decimal: '.', thousands: Some(',') },
            dates: dates.into_iter().filter_map(DateForm::parse).collect(),
            zone: jakarta(),
            channels: words(&["jenius"]),
            other_channels: words(&OTHER_CHANNELS),
            purchase_words: words(&["purchase", "payment", "sale"]),
            refund_words: words(&["refund", "void", "reversal"]),
            split: false,
            rhythm: Rhythm::Unknown,
        }
    }

    /// Whose channel a name is. A short word stands for itself, a longer one may stand within a name.
    pub fn channel(&self, name: &str) -> ChannelOf {
        let name = name.trim().to_lowercase();
        let names =
            |words: &[String]| words.iter().any(|word| word == "*" || has_word(&name, &word.to_lowercase()));
        if names(&self.channels) {
            ChannelOf::Ours
        } else if names(&self.other_channels) {
            ChannelOf::Other
        } else {
            ChannelOf::Unknown
        }
    }

    /// What a word for a type means; a file without that column has purchases alone.
    pub fn kind(&self, word: Option<&str>) -> RowKind {
        let Some(word) = word.map(|word| word.trim().to_lowercase()) else { return RowKind::Purchase };
        let names = |words: &[String]| words.iter().any(|known| known.to_lowercase() == word);
        if names(&self.purchase_words) {
            RowKind::Purchase
        } else if names(&self.refund_words) {
            RowKind::Refund
        } else {
            RowKind::Unknown
        }
    }

    /// What a heading stands for.
    pub fn column(&self, heading: &str) -> Option<Column> {
        let heading = normalised(heading);
        let own =
            self.columns.iter().find(|(_, name)| normalised(name) == heading).map(|(column, _)| *column);
        let is_renamed = |column: Column| self.columns.iter().any(|(renamed, _)| *renamed == column);
        let usual = Column::ALL.into_iter().find(|column| column.synonyms().contains(&heading.as_str()));
        own.or(usual.filter(|column| !is_renamed(*column)))
    }
}

/// The zone of DOKU's days.
pub fn jakarta() -> FixedOffset {
    // Seven hours are within what an offset may be.
    FixedOffset::east_opt(WIB).unwrap_or_else(|| chrono::Offset::fix(&chrono::Utc))
}

/// Whether `word` stands in `name` with no letter or digit beside it.
fn has_word(name: &str, word: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    !word.is_empty()
        && name.match_indices(word).any(|(at, found)| {
            is_edge(name[..at].chars().next_back()) && is_edge(name[at + found.len()..].chars().next())
        })
}

/// Capital letters and digits, one space for everything between them.
pub fn normalised(heading: &str) -> String {
    let mut out = String::new();
    for c in heading.chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_uppercase());
        } else if !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_ours_another_or_unknown() {
        let doku = Profile::doku();
        for (name, of) in [
            ("Jenius Pay", ChannelOf::Ours),
            (" JENIUS ", ChannelOf::Ours),
            ("Virtual Account BCA", ChannelOf::Other),
            ("VA-BCA", ChannelOf::Other),
            ("Vault Coins", ChannelOf::Unknown),
            ("JeniusX", ChannelOf::Unknown),
            ("", ChannelOf::Unknown),
        ] {
            assert_eq!(doku.channel(name), of, "{name}");
        }
        assert_eq!(Profile { channels: vec!["*".to_owned()], ..doku }.channel("x"), ChannelOf::Ours);
    }

    #[test]
    fn a_heading_is_known_by_its_letters_and_a_profile_may_rename_it() {
        let doku = Profile::doku();
        for (heading, column) in [
            ("INVOICE NUMBER", Some(Column::Invoice)),
            (" invoice_number ", Some(Column::Invoice)),
            ("Pay Out Date", Some(Column::PaidOut)),
            ("Customer Name", None),
            ("", None),
        ] {
            assert_eq!(doku.column(heading), column, "{heading}");
        }
        let own = Profile { columns: vec![(Column::Amount, "Bruto".to_owned())], ..doku };
        assert_eq!((own.column("BRUTO"), own.column("AMOUNT")), (Some(Column::Amount), None));
    }

    #[test]
    fn a_type_is_a_purchase_a_refund_or_unknown() {
        let doku = Profile::doku();
        for (word, kind) in [
            (None, RowKind::Purchase),
            (Some("Purchase"), RowKind::Purchase),
            (Some(" REFUND "), RowKind::Refund),
            (Some("Chargeback"), RowKind::Unknown),
            (Some(""), RowKind::Unknown),
        ] {
            assert_eq!(doku.kind(word), kind, "{word:?}");
        }
    }
}
