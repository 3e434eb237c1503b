//! File-system drivers: writing that is whole or not at all, claims, locks, and work inside trees that a
//! hostile guest may have filled. They import nothing of this crate.
//!
//! | module | owns |
//! |---|---|
//! | [`error`] | what the file system refuses |
//! | [`atomic`] | replacing a file or a symlink as one step |
//! | [`durable`] | bringing to the disk what others have written |
//! | [`claim`] | a file that exactly one of many processes creates |
//! | [`lock`] | waiting for a lock, with a time limit, in the order of arrival |
//! | [`room`] | whether a file system has room for anything new |
//! | [`beneath`] | paths inside an untrusted tree, never through a symlink or a mount |
//! | [`guest`] | regular files of a running guest, through its own mounts and links |
//! | [`tree`] | the directories of a new rootfs |
//! | [`remove`] | recursive removal that stays inside its directory |
//! | [`owner`] | the owners of a tree, moved from one range of ids to another |
//! | `walk`, `xattr`, `shift` | the way through an untrusted tree; attributes that carry ids; from which ids to which |
//! | [`usage`] | how many files a tree has, and what they take |
//! | [`mounts`] | which mounts lie at or below a directory |

pub mod atomic;
pub mod beneath;
pub mod claim;
pub mod durable;
pub mod error;
pub mod guest;
pub mod lock;
pub mod mounts;
pub mod owner;
pub mod remove;
pub mod room;
mod shift;
pub mod tree;
pub mod usage;
mod walk;
mod xattr;
