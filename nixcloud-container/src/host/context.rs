//! What an operation works with.

use std::fmt;

use crate::error::Error;
use crate::fs::lock;
use crate::host::{Held, Host};
use crate::model::name::ContainerName;
use crate::model::observe::{self, Cancel, Event, Observer, Phase};
use crate::model::occurrence::Operation;

/// What an operation works with: the host, whom it tells what it does, and what stops it.
pub(crate) struct Context<'a> {
    pub(crate) host: &'a Host,
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) cancel: &'a Cancel,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("host", self.host)
            .field("cancel", self.cancel)
            .finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(host: &'a Host, observer: &'a mut dyn Observer, cancel: &'a Cancel) -> Self {
        Self { host, observer, cancel }
    }

    /// Tells the observer.
    pub(crate) fn tell(&mut self, event: impl Into<Event>) {
        self.observer.event(event.into());
    }

    /// Does the work of one phase, and says when it begins and when it is done.
    pub(crate) fn phase<T, E>(
        &mut self,
        phase: Phase,
        work: impl FnOnce(&mut Context<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (host, cancel) = (self.host, self.cancel);
        observe::phase(phase, self.observer, |observer| work(&mut Context { host, observer, cancel }))
    }

    /// Does what is done whoever has cancelled what went before it.
    pub(crate) fn uncancelled<T>(&mut self, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let cancel = Cancel::new();
        work(&mut Context { host: self.host, observer: self.observer, cancel: &cancel })
    }

    /// Does what nobody is told of.
    pub(crate) fn untold<T>(&mut self, work: impl FnOnce(&mut Context<'_>) -> T) -> T {
        work(&mut Context { host: self.host, observer: &mut (), cancel: self.cancel })
    }

    /// Takes the lock of a container, see [`Host::lock`], and tells whom it waits for.
    pub(crate) fn lock(&mut self, name: &ContainerName, operation: Operation) -> Result<Held, Error> {
        if let Some(lock) = self.host.try_lock(name, operation)? {
            return Ok(lock);
        }
        self.tell(Event::Waiting { holder: lock::holder(&self.host.layout.container_lock(name)) });
        self.host.lock(name, operation, self.cancel)
    }
}
