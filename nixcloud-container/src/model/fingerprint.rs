//! Fingerprints of texts.

use sha2::{Digest as _, Sha256};

/// The hash by which a hand-edited configuration is noticed.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
