//! From one range of ids to another.

/// From which ids to which: `count` of them from `from` on become those from `to` on. The two do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// The first of the old ids.
    pub from: u32,
    /// The first of the new ids.
    pub to: u32,
    /// How many there are.
    pub count: u32,
}

impl Shift {
    /// The new id for one of the old range.
    pub(super) fn moved(self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.from)?;
        (offset < self.count).then(|| self.to + offset)
    }

    /// Whether it is one of the new range.
    pub(super) fn is_new(self, id: u32) -> bool {
        id.checked_sub(self.to).is_some_and(|offset| offset < self.count)
    }
}
