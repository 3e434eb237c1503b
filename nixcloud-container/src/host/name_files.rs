//! Names and DHCP leases of containers, as our dnsmasqs read them: one file a container and resolver, which follows its
//! current generation.
//!
//! They are made again from what is on disk each time, under one lock, so that the last to change a container is the one
//! whose view stays.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::render::dnsmasq::{self, Entry, Resolver};
use crate::store::history::Generations;
use crate::store::record::{Record, RecordPhase};
use crate::worker::resolver;

/// What dnsmasq is to do about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Follow {
    Nothing,
    /// Read its files again.
    Reload,
    /// Begin anew: it remembers who had an address, and would give it to nobody else before the lease ends.
    Restart,
}

/// Puts the names and leases of a container in place as they are to be now, or away where it is none any more.
/// Nothing is done while the networks of the host are not up. With the container's lock held, so that the record is as the one on
/// the disk.
pub(crate) fn publish(host: &Host, record: &Record, cancel: &Cancel) -> Result<(), Error> {
    if !host.layout.resolvers().is_dir() {
        return Ok(());
    }
    let _lock = host.lock_network(cancel)?;
    // Taken down while we waited.
    if !host.layout.resolvers().is_dir() {
        return Ok(());
    }
    for (resolver, follow) in put(host, &record.name, Some(record))? {
        match follow {
            Follow::Nothing => {}
            Follow::Reload => drop(resolver::reload(&host.layout, resolver)?),
            Follow::Restart => drop(resolver::restart(&host.layout, resolver)?),
        }
    }
    Ok(())
}

/// Makes all files anew, and removes those of containers that are gone. With the lock of the host's networks held;
/// whoever calls tells the dnsmasqs.
pub(crate) fn rebuild(host: &Host) -> Result<(), Error> {
    let mut known = HashSet::new();
    for name in Record::names(&host.layout)? {
        // One that is damaged is told nowhere, and hides no other.
        let record = Record::load(&host.layout, &name).ok().flatten();
        put(host, &name, record.as_ref())?;
        known.insert(name.to_string());
    }
    for folder in folders(host) {
        atomic::sweep(&folder)?;
        for entry in std::fs::read_dir(&folder).map_err(FileError::at("read", &folder))?.flatten() {
            if entry.file_name().to_str().is_none_or(|name| !known.contains(name)) {
                remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// The folders of all such files.
pub(crate) fn folders(host: &Host) -> [PathBuf; 5] {
    let [hostonly, internet, at_host] =
        Resolver::ALL.map(|resolver| host.layout.resolver_names(resolver.as_str()));
    [hostonly, internet, at_host, host.layout.resolver_leases(), dnsmasq::options(&host.layout)]
}

fn put(host: &Host, name: &ContainerName, record: Option<&Record>) -> Result<[(Resolver, Follow); 3], Error> {
    let record =
        record.filter(|record| !matches!(record.phase, RecordPhase::Creating | RecordPhase::Destroying));
    let generations = Generations::new(&host.layout, name);
    let spec = record.and_then(|_| generations.spec(generations.current().ok()?).ok());
    let entry = record.zip(spec.as_ref()).map(|(record, spec)| Entry {
        name,
        spec,
        internet: record.internet,
        interface: record.interface_id(&host.layout),
    });
    let mut all = Resolver::ALL.map(|resolver| (resolver, Follow::Nothing));
    for (resolver, follow) in &mut all {
        let path = host.layout.resolver_names(resolver.as_str()).join(name.as_str());
        let text = entry.and_then(|entry| entry.names(*resolver, &host.config));
        if write(&path, text.as_deref())? != Wrote::Nothing {
            *follow = Follow::Reload;
        }
        if *resolver == Resolver::Internet {
            let path = host.layout.resolver_leases().join(name.as_str());
            let lease = entry.and_then(|entry| entry.lease(&host.config));
            let options = dnsmasq::options(&host.layout);
            // Made by the `host up` of a version that has it.
            if options.is_dir() {
                let option = entry.and_then(|entry| entry.option());
                if write(&options.join(name.as_str()), option.as_deref())? != Wrote::Nothing {
                    *follow = (*follow).max(Follow::Reload);
                }
            }
            *follow = (*follow).max(match write(&path, lease.as_deref())? {
                Wrote::Nothing => Follow::Nothing,
                Wrote::New => Follow::Reload,
                Wrote::Other => Follow::Restart,
            });
        }
    }
    Ok(all)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrote {
    /// It was so already.
    Nothing,
    /// There was none.
    New,
    /// What there was is gone.
    Other,
}

fn write(path: &Path, text: Option<&str>) -> Result<Wrote, Error> {
    let Some(text) = text else {
        return Ok(if remove(path)? { Wrote::Other } else { Wrote::Nothing });
    };
    let there = path.exists();
    // Whom dnsmasq runs as reads it.
    let changed = atomic::write_if_changed(path, text.as_bytes(), 0o644, Durability::Volatile)?;
    Ok(match (changed, there) {
        (false, _) => Wrote::Nothing,
        (true, false) => Wrote::New,
        (true, true) => Wrote::Other,
    })
}

/// Says whether there was one.
fn remove(path: &Path) -> Result<bool, Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FileError::new("remove", path, source).into()),
    }
}
