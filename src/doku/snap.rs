//! SNAP, the form of Indonesia's open API standard that DOKU also uses for notifications: how one is signed and what
//! it says, and the tokens that DOKU fetches before it sends one.

pub mod body;
pub mod minify;
pub mod public_key;
pub mod signature;
pub mod token;
pub mod tokens;

use crate::config;
use public_key::PublicKey;
use std::sync::Arc;

/// DOKU's keys, current and previous, as they are configured.
pub fn public_keys(snap: &config::SnapConfig) -> Arc<[PublicKey]> {
    snap.public_keys.iter().map(PublicKey::new).collect()
}
