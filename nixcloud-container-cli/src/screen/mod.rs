//! The streams and the terminal: what is written, drawn and coloured there, and keys that mean an end.

pub(crate) mod alternate;
pub(crate) mod bottom;
pub(crate) mod colours;
pub(crate) mod printer;
pub(crate) mod signals;
pub(crate) mod terminal;
pub(crate) mod trace;
pub(crate) mod wrap;
