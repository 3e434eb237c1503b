//! One container, a verb a file, and the steps that verbs share.

pub mod activate;
pub mod addresses;
pub mod adopt;
pub mod booting;
pub mod claim;
pub mod create;
pub mod cut_off;
pub mod destroy;
pub mod durable;
pub mod exec;
pub mod foreground;
pub mod freeing;
pub mod guest_units;
pub mod idmap_move;
pub mod inspect;
pub mod limits;
pub mod locked;
pub mod lxc_config;
pub mod needs;
pub mod power;
pub mod recover;
pub mod repair;
pub mod start;
pub mod switch;
pub mod update;
pub mod waiting;
