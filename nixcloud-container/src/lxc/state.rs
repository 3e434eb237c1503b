//! The states of a container, as LXC names and numbers them.

use std::fmt;

/// The state of a container (`lxc_state_t`; the numbers travel over the command socket).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LxcState {
    /// No monitor answers.
    Stopped,
    /// The monitor sets the guest up.
    Starting,
    /// Init runs.
    Running,
    /// Init has ended, the monitor cleans up; the name cannot be started yet.
    Stopping,
    /// The start failed, the monitor cleans up.
    Aborting,
    /// On the way to frozen.
    Freezing,
    /// Every process of the guest is held.
    Frozen,
    /// On the way back from frozen.
    Thawed,
}

impl LxcState {
    /// Every state, at the index of its number.
    pub const ALL: [Self; 8] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Aborting,
        Self::Freezing,
        Self::Frozen,
        Self::Thawed,
    ];

    /// LXC's own word, upper case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Aborting => "ABORTING",
            Self::Freezing => "FREEZING",
            Self::Frozen => "FROZEN",
            Self::Thawed => "THAWED",
        }
    }

    /// The state that LXC calls by this word. `INVALID STATE` and all else is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The state of this number.
    pub(super) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl fmt::Display for LxcState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_invalid_is_none() {
        for state in LxcState::ALL {
            assert_eq!(LxcState::from_name(state.as_str()), Some(state));
        }
        assert_eq!(LxcState::from_name("INVALID STATE"), None);
        assert_eq!(LxcState::from_number(2), Some(LxcState::Running));
        assert_eq!((LxcState::from_number(-1), LxcState::from_number(8)), (None, None));
    }

    /// liblxc has no eighth state that we would not know.
    #[cfg(feature = "liblxc")]
    #[test]
    fn the_library_has_the_same_states() {
        // SAFETY: NULL asks for the count alone.
        let count = unsafe { lxc_sys::lxc_get_wait_states(std::ptr::null_mut()) };
        let mut names = vec![std::ptr::null(); usize::try_from(count).unwrap()];
        // SAFETY: the array has room for as many pointers as the library said.
        unsafe { lxc_sys::lxc_get_wait_states(names.as_mut_ptr()) };
        let names: Vec<_> = names
            .into_iter()
            // SAFETY: each is a static string of the library's.
            .map(|name| unsafe { std::ffi::CStr::from_ptr(name) }.to_str().unwrap())
            .collect();
        assert_eq!(names, LxcState::ALL.map(LxcState::as_str));
    }
}
