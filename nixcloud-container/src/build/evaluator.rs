//! Eval: what a container file comes to, and what is wrong with it. Nothing is built, and nothing of a host changes.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::build::extra_check;
use crate::build::instantiate::{self, Asked, Evaluated, Instantiator};
use crate::build::source::Source;
use crate::error::Error;
use crate::fs::error::FileError;
use crate::model::config::{HostConfig, Share};
use crate::model::idmap::IdMapKind;
use crate::model::name::ContainerName;
use crate::model::observe::{self, Cancel, Observer, Phase};
use crate::model::setters::setters;
use crate::model::spec::ContainerSpec;
use crate::worker::Client;

/// A container file that is to be evaluated, and with what.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EvalRequest {
    /// The container file, see [`CreateRequest`](crate::CreateRequest::file).
    pub file: PathBuf,
    /// The container's name. Else the one that the file proposes, or its own.
    pub name: Option<ContainerName>,
    /// Arguments for Nix, already split.
    pub nix_args: Vec<String>,
}

setters!(EvalRequest {
    with_name => name: Option<ContainerName>,
    with_nix_args => nix_args: Vec<String>,
});

impl EvalRequest {
    /// A container file, under the name that it proposes.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), name: None, nix_args: Vec::new() }
    }
}

/// What a container file comes to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The name that it was evaluated with.
    pub name: ContainerName,
    /// The container file, as it can be given again from anywhere.
    pub file: PathBuf,
    /// What it says beside its NixOS configuration.
    pub spec: ContainerSpec,
    /// Whether the address in `spec.effective` stands for one that is leased when the container is created.
    pub leased: bool,
    /// The generation's derivation. It is not in the store, unless something was built from it.
    pub derivation: PathBuf,
    /// The store path that the generation would be.
    pub out: PathBuf,
}

setters!(Evaluation: "With an address that is not leased yet." (name: ContainerName, file: PathBuf, spec: ContainerSpec, derivation: PathBuf, out: PathBuf) {
    with_leased => leased: bool,
});

/// Evaluates container files. Unlike a [`Manager`](crate::Manager) it needs no root.
#[derive(Debug, Clone)]
pub struct Evaluator {
    config: HostConfig,
    cancel: Cancel,
}

impl Evaluator {
    /// For the host of this configuration.
    #[must_use]
    pub fn new(config: HostConfig) -> Self {
        Self { config, cancel: Cancel::new() }
    }

    /// Lets `cancel` stop an evaluation.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Evaluates a container file as `create` does, with 10.101.255.254 in place of a leased address.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn eval(&self, request: &EvalRequest, observer: &mut dyn Observer) -> Result<Evaluation, Error> {
        let _span = tracing::debug_span!("eval", file = %request.file.display()).entered();
        let source = Source::container(&request.file, &request.nix_args)?;
        let folder = scratch()?;
        let instantiator = Instantiator::apart(&self.config, folder.path(), true)?;
        let own = || source.reference.stem().and_then(|stem| stem.parse().ok());
        let name = match request.name.clone().or_else(own) {
            Some(name) => name,
            None => "container".parse().map_err(Error::Name)?,
        };
        let ip = Some(placeholder(&self.config));
        observe::phase(Phase::Evaluate, observer, |observer| {
            let found = instantiator.container(
                Asked { name: &name, source: &source, ip, idmap: IdMapKind::default() },
                observer,
                &self.cancel,
            )?;
            let proposed = found.spec.name.clone().filter(|proposed| *proposed != name);
            match proposed.filter(|_| request.name.is_none()) {
                // Now that its own name is known.
                Some(name) => {
                    let asked = Asked { name: &name, source: &source, ip, idmap: IdMapKind::default() };
                    let found = instantiator.container(asked, observer, &self.cancel)?;
                    checked(&self.config, &source, name, found, &self.cancel)
                }
                None => {
                    instantiate::note_name(&name, &found.spec, observer);
                    checked(&self.config, &source, name, found, &self.cancel)
                }
            }
        })
    }
}

fn checked(
    config: &HostConfig,
    source: &Source,
    name: ContainerName,
    found: Evaluated,
    cancel: &Cancel,
) -> Result<Evaluation, Error> {
    // What this kernel has for each is not looked at: another host may evaluate.
    let above = config.limits.grant(&found.spec.resources, &|_| false, Share::new()).above;
    if !above.is_empty() {
        return Err(Error::LimitAbove { name, above });
    }
    extra_check::of_file(&Client::new(config.worker.as_deref()), config, &found.spec, &[], cancel)?;
    Ok(Evaluation {
        name,
        file: source.reference.text.clone(),
        leased: found.takes_offer(),
        derivation: found.drv.as_path().to_owned(),
        out: found.out.as_path().to_owned(),
        spec: found.spec,
    })
}

/// A folder for a request, that is gone with it.
pub(crate) fn scratch() -> Result<tempfile::TempDir, Error> {
    Ok(tempfile::tempdir().map_err(FileError::at("make", &std::env::temp_dir()))?)
}

/// What stands for an address that is not leased yet: the last of the pool.
pub(crate) fn placeholder(config: &HostConfig) -> Ipv4Addr {
    let last = u32::from(config.network.hostonly.address.broadcast());
    Ipv4Addr::from(last.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_is_the_one_that_is_documented() {
        assert_eq!(placeholder(&HostConfig::default()), Ipv4Addr::new(10, 101, 255, 254));
    }
}
