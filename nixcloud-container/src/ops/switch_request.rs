//! Which generation a container is to go to.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::context::Context;
use crate::model::generation::{GenerationId, Health};
use crate::model::note::GenerationNote;
use crate::model::setters::setters;
use crate::ops::limits::Below;
use crate::store::history::Generations;
use crate::store::record::Record;

/// Which generation is asked for.
///
/// ```
/// use nixcloud_container::SwitchRequest;
///
/// let back = SwitchRequest::new().with_force_limits(true);
/// assert_eq!(back.to, None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SwitchRequest {
    /// This one; the newest older one that has worked when not given.
    pub to: Option<GenerationId>,
    /// Whether a guest that uses more memory than the generation gives it is switched all the same, see
    /// [`UpdateRequest::force_limits`](crate::UpdateRequest::force_limits).
    pub force_limits: bool,
}

setters!(SwitchRequest: "Back to the newest older one that has worked." {
    with_to => to: Option<GenerationId>,
    with_force_limits => force_limits: bool,
});

impl SwitchRequest {
    pub(super) fn below(self) -> Below {
        if self.force_limits { Below::Force } else { Below::Refuse }
    }

    /// The generation. `cut_off` is one that was, for whoever looked, the current one, and was left just now for the one
    /// before it: then a rollback is done.
    pub(crate) fn choose(
        self,
        generations: &Generations,
        record: &Record,
        cut_off: Option<GenerationId>,
        context: &mut Context<'_>,
    ) -> Result<GenerationId, Error> {
        let rollback = match self.to {
            Some(id) => return Ok(generations.link(id).map(|_| id)?),
            None if cut_off.is_some() => return Ok(generations.current()?),
            None => generations.rollback(record)?,
        };
        if !rollback.passed.is_empty() {
            context.tell(GenerationNote::PassedOver { to: rollback.to, passed: rollback.passed });
        }
        if rollback.health != Health::Good {
            let (name, generation) = (record.name.clone(), rollback.to);
            context.tell(GenerationNote::NeverRun { name, generation });
        }
        Ok(rollback.to)
    }
}
