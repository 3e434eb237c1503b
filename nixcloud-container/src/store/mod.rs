//! What is on the disk: records, claims, generations, root file systems, and what others of this host have there.

pub mod boot_notes;
pub mod claims;
pub mod closures;
pub mod history;
pub mod host_facts;
pub(crate) mod journal;
pub mod keeping;
pub mod legacy;
pub mod manifest;
pub mod others;
pub mod presence;
pub mod record;
pub mod reference;
pub mod rootfs;
pub mod routes;
pub mod salvage;
pub mod shown;
pub mod subid;
pub mod subid_notes;
