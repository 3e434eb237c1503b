//! A container file, or a set of them, and what goes to Nix with it.

use std::path::Path;

use crate::error::Error;
use crate::nix::{self, UserArgs};
use crate::store::reference::Reference;

/// What is evaluated.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) reference: Reference,
    pub(crate) nix_args: Vec<String>,
    pub(crate) user: UserArgs,
}

impl Source {
    /// Finds the container file and reads the arguments, before anything is locked or leased.
    pub(crate) fn container(file: &Path, nix_args: &[String]) -> Result<Self, Error> {
        Self::with(Reference::container(file)?, nix_args)
    }

    /// The same for a set of containers.
    pub(crate) fn set(file: &Path, nix_args: &[String]) -> Result<Self, Error> {
        Self::with(Reference::set(file)?, nix_args)
    }

    fn with(reference: Reference, nix_args: &[String]) -> Result<Self, Error> {
        let nix_args = &nix::absolute_includes(nix_args);
        let user = UserArgs::parse(nix_args).map_err(|error| Error::Nix(error.into()))?;
        Ok(Self { reference, nix_args: nix_args.to_vec(), user })
    }

    /// The container `name` of this set.
    pub(crate) fn member(&self, name: &str) -> Self {
        Self { reference: self.reference.member(name), ..self.clone() }
    }
}
