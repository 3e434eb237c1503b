//! What is between this program and the one who sits before it: the streams, what is drawn on them, and keys that mean an end.

pub(crate) mod bottom;
pub(crate) mod colours;
pub(crate) mod printer;
pub(crate) mod signals;
pub(crate) mod terminal;
pub(crate) mod trace;
pub(crate) mod wrap;
