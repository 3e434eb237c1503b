//! One container on its way from wanted to done.

use std::path::PathBuf;

use super::{AppliedContainer, Outcome};
use crate::build::instantiate::Evaluated;
use crate::build::source::Source;
use crate::build::{Order, Stage};
use crate::error::Error;
use crate::host::Held;
use crate::model::name::ContainerName;
use crate::model::observe::Planned;
use crate::model::spec::ContainerSpec;
use crate::store::manifest::Package;
use crate::store::record::{Declared, Record};

/// What a container is made of.
#[derive(Debug)]
pub(super) enum What {
    /// A container file.
    Source(Box<Source>),
    /// A generation that is built.
    Package { package: Box<Package>, manifest: PathBuf },
}

/// What is held of a container between the plan and its change.
#[derive(Debug)]
pub(super) enum Hold {
    /// There is none yet, and it is only planned.
    Nothing,
    /// There is none yet: its name, its address and its lock are taken.
    New(Held, Box<Record>),
    /// It exists.
    Known(Box<Record>),
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: String,
    /// `None` where it is declared no more, or cannot be.
    pub(super) wanted: Option<(ContainerName, What)>,
    pub(super) hold: Hold,
    pub(super) evaluated: Option<Evaluated>,
    /// Whether what was evaluated is built, and rooted.
    pub(super) held: bool,
    pub(super) planned: Planned,
    pub(super) outcome: Outcome,
}

impl Item {
    pub(super) fn new(name: String, wanted: Option<(ContainerName, What)>, planned: Planned) -> Self {
        Self {
            name,
            wanted,
            hold: Hold::Nothing,
            evaluated: None,
            held: false,
            planned,
            outcome: Outcome::Planned,
        }
    }

    pub(super) fn blocked(name: String, error: Error) -> Self {
        let mut item = Self::new(name, None, Planned::Blocked);
        item.outcome = Outcome::Failed(error);
        item
    }

    /// Something stands in the way.
    pub(super) fn block(&mut self, error: Error) {
        self.planned = Planned::Blocked;
        self.outcome = Outcome::Failed(error);
    }

    pub(super) fn source(&self) -> Option<(&ContainerName, &Source)> {
        match &self.wanted {
            Some((name, What::Source(source))) => Some((name, source)),
            _ => None,
        }
    }

    pub(super) fn spec(&self) -> Option<&ContainerSpec> {
        match &self.wanted {
            Some((_, What::Package { package, .. })) => Some(&package.spec),
            _ => self.evaluated.as_ref().map(|evaluated| &evaluated.spec),
        }
    }

    /// Whether a generation is to be made.
    pub(super) fn is_change(&self) -> bool {
        matches!(self.planned, Planned::Create | Planned::Update { .. })
    }

    /// Whether it is to be destroyed.
    pub(super) fn goes(&self) -> bool {
        matches!(self.planned, Planned::Remove { .. })
    }

    /// What its generation is made of.
    pub(super) fn order(&self, declared: Option<Declared>) -> Option<Order<'_>> {
        let stage = match &self.wanted.as_ref()?.1 {
            What::Package { package, manifest } => Stage::Package { package, manifest },
            What::Source(source) => match &self.evaluated {
                Some(evaluated) => Stage::Evaluated { source, evaluated, held: self.held },
                None => Stage::Source(source),
            },
        };
        Some(Order { stage, declared })
    }

    pub(super) fn into_applied(self) -> AppliedContainer {
        AppliedContainer { name: self.name, planned: self.planned, outcome: self.outcome }
    }
}
