//! What went wrong with an activation.

/// What went wrong with an activation: the exit code of `switch-to-configuration`, by its meaning.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailedActivation {
    /// Exit 1, 2, 3 or another: the switch did not succeed.
    #[non_exhaustive]
    Failed {
        /// The exit code.
        code: i32,
    },
    /// Exit 4: switched, but units failed.
    #[non_exhaustive]
    UnitsFailed {
        /// The units, as far as they were named.
        units: Vec<String>,
    },
    /// Exit 100: nothing was activated, the guest's init is too old or too new for it.
    NeedsRestart,
    /// A signal ended it.
    #[non_exhaustive]
    Killed {
        /// The signal.
        signal: i32,
    },
}

impl std::fmt::Display for FailedActivation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed { code } => {
                let meaning = match code {
                    1 => "a check before the switch failed, or the switch itself",
                    2 => "its activation script failed",
                    3 => "systemd could not be reloaded",
                    126 => "switch-to-configuration is not executable",
                    127 => "switch-to-configuration is missing",
                    _ => "unexpected",
                };
                write!(f, "could not be activated: exit code {code}, {meaning}")
            }
            Self::UnitsFailed { units } if units.is_empty() => f.write_str("is active, but units failed"),
            Self::UnitsFailed { units } => write!(f, "is active, but units failed: {}", units.join(", ")),
            Self::NeedsRestart => f.write_str("cannot be activated in the running guest: it needs a restart"),
            Self::Killed { signal } => write!(f, "could not be activated: signal {signal} ended it"),
        }
    }
}
