//! Set: limits of a container that somebody changes by hand, for now or for good.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::context::Context;
use crate::host::grants::granted;
use crate::model::name::ContainerName;
use crate::model::occurrence::Operation;
use crate::model::overrides::{NONE, Overrides};
use crate::model::setters::setters;
use crate::ops::limits::{self, Below};
use crate::ops::locked::{self, Locked};
use crate::store::history::Generations;
use crate::store::presence;

/// Which limits are set.
///
/// ```
/// use nixcloud_container::SetRequest;
///
/// let request = SetRequest::new().limit("memory", "2G").limit("cpus", "none").with_keep(true);
/// assert!(request.keep);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SetRequest {
    /// Keys of `resources` with their values, as a container file has them; `none` takes a limit away.
    pub limits: Vec<(String, String)>,
    /// Whether they are there for later generations, too; otherwise the next one begins with its own.
    pub keep: bool,
    /// Whether what was set before goes: the generation's own limits are back, and then `limits` are set.
    pub reset: bool,
    /// Whether a guest that uses more memory gets the limit all the same, see
    /// [`UpdateRequest::force_limits`](crate::UpdateRequest::force_limits).
    pub force: bool,
}

setters!(SetRequest: "Nothing is set." {
    with_limits => limits: Vec<(String, String)>,
    with_keep => keep: bool,
    with_reset => reset: bool,
    with_force => force: bool,
});

impl SetRequest {
    /// With this limit, too.
    #[must_use]
    pub fn limit(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.limits.push((key.into(), value.into()));
        self
    }
}

pub(crate) fn set(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &SetRequest,
) -> Result<(), Error> {
    let host = context.host;
    let Locked { lock: _lock, mut record, .. } = locked::take_whole_observed(context, name, Operation::Set)?;
    let generations = Generations::new(&host.layout, name);
    let spec = generations.spec(generations.current()?)?;
    let before = record.limits.take();
    let mut overrides = before.clone().filter(|_| !request.reset).unwrap_or_default();
    overrides.keep = request.keep;
    overrides.values.extend(request.limits.iter().cloned());
    // A limit that neither has is none to take away at each start.
    let own = granted(host, &spec, None)?.resources;
    let needless = |key: &String, value: &String| {
        let alone = Overrides { keep: false, values: [(key.clone(), value.clone())].into() };
        value == NONE && granted(host, &spec, Some(&alone)).is_ok_and(|with| with.resources == own)
    };
    overrides.values.retain(|key, value| !needless(key, value));
    record.limits = Some(overrides).filter(|overrides| !overrides.values.is_empty());
    let mut above = granted(host, &spec, record.limits.as_ref())?.above;
    // What the container's own file asks for was accepted before the ceiling was lowered.
    above.retain(|above| request.limits.iter().any(|(key, _)| *key == above.key));
    limits::refuse(name, above)?;
    let held = limits::require(context, name, &spec, record.limits.as_ref())?;
    let here = presence::look(&host.layout, &record)?;
    let Some(init) = here.init.filter(|_| here.state.is_live()) else {
        return Ok(record.save(&host.layout)?);
    };
    let below = if request.force { Below::Force } else { Below::Refuse };
    limits::change(host, name, init, &held, below)?;
    record.save(&host.layout).map_err(|failure| {
        record.limits = before;
        Error::from(failure).undone(limits::restore(host, &record, &spec))
    })
}
