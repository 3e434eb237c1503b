//! Words without input and output: configuration, specs, names, ids, states, events.

pub mod bridge_port;
pub mod config;
pub mod exit;
pub mod features;
pub mod fingerprint;
pub mod forward;
pub mod generation;
pub mod hint;
pub mod host_report;
pub mod idmap;
pub mod interface;
pub mod layout;
pub mod log_level;
pub mod name;
pub mod namespace;
pub mod note;
pub mod observe;
pub mod overrides;
pub mod resources;
pub(crate) mod setters;
pub mod signal;
pub mod spec;
pub mod state;
pub mod store_view;
pub mod user;
pub mod words;
