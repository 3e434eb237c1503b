//! Old generations go: of one container or of all, as a policy says.

use crate::error::Error;
use crate::host::context::Context;
use crate::model::generation::{GenerationId, Selection};
use crate::model::keep::Keep;
use crate::model::name::ContainerName;
use crate::model::setters::setters;
use crate::ops::generations;

/// Whose generations go, and which are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcRequest {
    /// The containers; all of ours when not given.
    pub names: Option<Vec<ContainerName>>,
    /// What is kept; what the host configuration says (`generations`) when not given.
    pub keep: Option<Keep>,
    /// Whether it is only told what would go.
    pub dry_run: bool,
}

setters!(GcRequest: "All containers, as the host configuration says." {
    with_names => names: Option<Vec<ContainerName>>,
    with_keep => keep: Option<Keep>,
    with_dry_run => dry_run: bool,
});

/// What became of a container's generations.
#[derive(Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Collected {
    /// The container.
    pub name: ContainerName,
    /// Those that went, or would go, oldest first; or why nothing did.
    pub outcome: Result<Vec<GenerationId>, Error>,
}

impl Collected {
    /// For a container of this name.
    #[must_use]
    pub fn new(name: ContainerName, outcome: Result<Vec<GenerationId>, Error>) -> Self {
        Self { name, outcome }
    }
}

pub(crate) fn collect(context: &mut Context<'_>, request: &GcRequest) -> Result<Vec<Collected>, Error> {
    let keep = request.keep.unwrap_or(context.host.config.generations);
    if keep.is_empty() {
        return Err(Error::NoPolicy);
    }
    let names = match &request.names {
        Some(names) => names.clone(),
        None => context.host.names()?,
    };
    let selection = Selection::Keep(keep);
    let mut all = Vec::new();
    for name in names {
        if context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let outcome = if request.dry_run {
            generations::foreseen_deletion(context.host, &name, &selection)
        } else {
            generations::delete(context, &name, &selection)
        };
        match outcome {
            // It went away meanwhile, and its generations with it.
            Err(Error::NotFound { .. }) if request.names.is_none() => {}
            outcome => all.push(Collected::new(name, outcome)),
        }
    }
    Ok(all)
}
