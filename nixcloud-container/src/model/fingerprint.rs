//! Fingerprints of texts, and how bytes are written.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The hash by which a hand-edited configuration is noticed.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Bytes, two digits each.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
