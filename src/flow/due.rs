//! What is due, what is wanted of it, and what is taken on: the words between follow-up and the store.

use super::ports::{Account, Claim};
use crate::domain::{
    ids::MerchantName,
    schedule::{InquiryRank, SendRank},
};

/// Which due orders are wanted now.
#[derive(Debug, Clone)]
pub struct DueFilter {
    /// Each merchant by itself: none is in the way of another.
    pub merchants: Vec<DueOf>,
    /// At most this many lost attempts, of all merchants.
    pub lost: u32,
}

/// What is wanted of one merchant's due orders.
#[derive(Debug, Clone)]
pub struct DueOf {
    /// As configured now: an order made for another account or host is stranded.
    pub account: Account,
    /// At most this many of each rank, those that are in hand and wait for their permit among them.
    pub sends: u32,
    pub inquiries: u32,
}

/// An order that is due now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueOrder {
    pub order_key: i64,
    pub merchant: MerchantName,
    pub what: DueWhat,
}

/// What it has come for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueWhat {
    /// The lease of an attempt ran out: what follows is written down, and DOKU is not asked.
    Lost,
    Send {
        rank: SendRank,
        /// DOKU may have acted, and it is time to ask: the send goes behind an inquiry, unless that is held back.
        asks_first: bool,
    },
    Inquiry(InquiryRank),
}

/// What is taken on for a due order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueNeed {
    /// What a lost attempt left behind.
    Lost,
    Send {
        /// The inquiry before it could not be made.
        inquiry_held_back: bool,
    },
    Inquiry,
}

/// What was taken on for a due order.
#[derive(Debug)]
#[must_use]
pub enum DueClaim {
    Attempt(Box<Claim>),
    /// Another took it, or there is nothing of it to do now.
    Gone,
}
