//! What a watch is to tell.

use jiff::Timestamp;

use crate::model::name::ContainerName;
use crate::model::setters::setters;

/// What a watch is to tell.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WatchRequest {
    /// The containers; all of them where none is named. One that is named need not exist yet.
    pub names: Vec<ContainerName>,
    /// With a time only changes are told: first those since then that the host still knows, then those to come. Without one the
    /// watch begins with each container as it is.
    ///
    /// What operations did is known of the last few thousand; how a guest ended that no operation was about, and when it had
    /// booted, only whoever was watching then can tell.
    pub since: Option<Timestamp>,
}

setters!(WatchRequest: "All containers, as they are and what happens to them." {
    with_names => names: Vec<ContainerName>,
    with_since => since: Option<Timestamp>,
});
