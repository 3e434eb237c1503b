//! From a container file to a generation: one evaluation, one build, one profile change.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::expression;
use crate::fs::atomic::{self, Durability};
use crate::generation::GenerationId;
use crate::generations::Generations;
use crate::host::Host;
use crate::layout::NIX_STATE;
use crate::lease::{Foreign, LeaseError, Leases};
use crate::name::ContainerName;
use crate::net::{Link, Netlink};
use crate::nix::{self, SearchPath, StorePath, UserArgs, roots};
use crate::observe::{self, Cancel, Event, Observer, Phase as Progress};
use crate::record::Record;
use crate::rootfs;
use crate::spec::{ContainerSpec, SCHEMA};

/// A container file and what goes to Nix with it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) nix_args: Vec<String>,
    user: UserArgs,
}

impl Source {
    /// Resolves the file and reads the arguments, before anything is locked or leased.
    pub(crate) fn new(file: &Path, nix_args: &[String]) -> Result<Self, Error> {
        let missing = |source| Error::ContainerFile { path: file.to_owned(), source };
        // Absolute, but not resolved: relative imports of a linked file are relative to the link's name for Nix too.
        let file = std::path::absolute(file).map_err(missing)?;
        let whole = if file.is_dir() { file.join("default.nix") } else { file };
        readable(&whole).map_err(|source| Error::ContainerFile { path: whole.clone(), source })?;
        let user = UserArgs::parse(nix_args).map_err(|error| Error::Nix(error.into()))?;
        Ok(Self { file: whole, nix_args: nix_args.to_vec(), user })
    }
}

/// To open a pipe waits for its writer, and no Ctrl-C ends that: what is no file is not opened.
fn readable(file: &Path) -> std::io::Result<()> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is neither a regular file nor a folder"));
    }
    std::fs::File::open(file).map(drop)
}

/// The request to `nix/containers.nix`.
#[derive(Serialize)]
struct Request<'a> {
    schema: u32,
    system: String,
    want: &'static str,
    /// The prefix lengths of the host's bridges: what a fixed address on one of them has by default.
    bridges: BTreeMap<String, u8>,
    containers: BTreeMap<&'a ContainerName, Asked<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    file: &'a Path,
    ip: Option<Ipv4Addr>,
    prefix_length: u8,
}

/// Its answer.
#[derive(Deserialize)]
struct Reply {
    schema: u32,
    containers: BTreeMap<ContainerName, Built>,
}

#[derive(Deserialize)]
struct Built {
    drv: StorePath,
    out: StorePath,
    spec: serde_json::Value,
}

/// An evaluated container: nothing is built yet.
#[derive(Debug, Clone)]
pub(crate) struct Evaluated {
    drv: StorePath,
    out: StorePath,
    pub(crate) spec: ContainerSpec,
}

/// Takes the lease before the evaluation, which needs it; one that turns out unused is given back.
pub(crate) fn lease_for_evaluation(host: &Host, record: &mut Record, foreign: &Foreign) -> Result<(), Error> {
    let leases = Leases::new(&host.layout, &host.config);
    let owner = record.name.clone();
    if let Some(lease) = record.lease {
        let reserved = leases.reserved(&owner).is_some_and(|reserved| reserved != lease)
            || leases.reserved_for_another(&owner, lease.into()).is_some();
        // It is ours already, unless one of us was killed between noting it and claiming it.
        match leases.fix_address(&owner, lease.into(), foreign) {
            Ok(()) if !reserved => return Ok(()),
            // The host configuration says now who is to have which. The old one stays until the new generation has
            // proved itself, as a fixed one does.
            Ok(()) => record.fixed.push(lease),
            Err(LeaseError::AddressTaken { .. } | LeaseError::HostAddress { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    leases.lease_address(&owner, foreign, &mut |address| {
        record.lease = Some(address);
        record.save(&host.layout).map_err(Error::from)
    })?;
    Ok(())
}

/// The prefix lengths of the bridges of this network namespace.
fn bridges() -> Result<BTreeMap<String, u8>, Error> {
    let mut netlink = Netlink::open()?;
    let mut prefixes = BTreeMap::new();
    let names: BTreeMap<u32, String> =
        netlink.links()?.into_iter().filter(Link::is_bridge).map(|link| (link.index, link.name)).collect();
    for (index, address) in netlink.all_addresses()? {
        if let (IpNetwork::V4(address), Some(name)) = (address, names.get(&index)) {
            prefixes.entry(name.clone()).or_insert(address.prefix());
        }
    }
    Ok(prefixes)
}

/// The one evaluation of a create or update.
pub(crate) fn evaluate(
    host: &Host,
    record: &Record,
    source: &Source,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Evaluated, Error> {
    observe::phase(Progress::Evaluate, observer, |observer| {
        evaluate_once(host, record, source, observer, cancel)
    })
}

fn evaluate_once(
    host: &Host,
    record: &Record,
    source: &Source,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Evaluated, Error> {
    let work = host.layout.work(&record.name);
    rootfs::make_dirs(&work, 0o700)?;
    let expression = expression::place(host)?;
    let system = host.config.nix.system.clone();
    let asked = Asked {
        file: &source.file,
        ip: record.lease,
        prefix_length: host.config.network.hostonly.address.prefix(),
    };
    let request = Request {
        schema: SCHEMA,
        system: system.unwrap_or_else(|| format!("{}-linux", std::env::consts::ARCH)),
        want: "build",
        bridges: bridges()?,
        containers: BTreeMap::from([(&record.name, asked)]),
    };
    let path = work.join("request.json");
    let json = serde_json::to_vec(&request).map_err(|error| Error::Io {
        action: "write",
        path: path.clone(),
        source: error.into(),
    })?;
    atomic::write(&path, &json, 0o600, Durability::Volatile)?;
    let mut search = SearchPath::new();
    if let Some(nixpkgs) = &host.config.nix.nixpkgs {
        search = search.with("nixpkgs", nixpkgs);
    }
    let reply: Reply = host.nix().evaluate(&expression, &path, &search, &source.user, observer, cancel)?;
    if reply.schema != SCHEMA {
        return Err(crate::spec::SpecError::Newer { found: reply.schema }.into());
    }
    let Some(built) =
        reply.containers.into_iter().find(|(name, _)| *name == record.name).map(|(_, built)| built)
    else {
        return Err(Error::Incomplete { name: record.name.clone(), what: "evaluation" });
    };
    let json = serde_json::to_vec(&built.spec).map_err(crate::spec::SpecError::from)?;
    let spec = ContainerSpec::from_json(&json)?;
    if let Some(name) = &spec.name
        && *name != record.name
    {
        observer.event(Event::Note(format!(
            "the container file calls itself `{name}`; it is `{}` by the command line",
            record.name
        )));
    }
    Ok(Evaluated { drv: built.drv, out: built.out, spec })
}

/// A build that is done, and rooted by `work/result` until its container's profile has it.
#[derive(Debug)]
pub(crate) struct Realised(StorePath);

/// Builds. The profile is not touched.
pub(crate) fn realise(
    host: &Host,
    record: &Record,
    source: &Source,
    mut evaluated: Evaluated,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Realised, Error> {
    let root = host.layout.work(&record.name).join("result");
    let build = |drv: &StorePath, observer: &mut dyn Observer| {
        observe::phase(Progress::Build, observer, |observer| {
            host.nix().realise(drv, &root, &source.user, observer, cancel)
        })
    };
    match build(&evaluated.drv, observer) {
        // Nothing roots a derivation between the two calls: a garbage collection may come between.
        Err(nix::Error::NotInStore { .. }) => {
            tracing::debug!(drv = %evaluated.drv, "gone since it was evaluated");
            evaluated = evaluate(host, record, source, observer, cancel)?;
            build(&evaluated.drv, observer)?;
        }
        other => drop(other?),
    }
    Ok(Realised(evaluated.out))
}

/// Makes a build the profile's newest and current generation.
pub(crate) fn set_profile(
    host: &Host,
    record: &Record,
    built: &Realised,
    cancel: &Cancel,
) -> Result<GenerationId, Error> {
    rootfs::make_dirs(&host.layout.profile_dir(&record.name), 0o755)?;
    host.nix().set_profile(&host.layout.profile(&record.name), &built.0, cancel)?;
    clear_work(host, &record.name)?;
    Ok(Generations::new(&host.layout, &record.name).current()?)
}

/// Removes the request and the build's root: the profile is the root now.
pub(crate) fn clear_work(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let work = host.layout.work(name);
    let root = work.join("result");
    roots::remove(&root, Path::new(NIX_STATE)).map_err(crate::generations::GenerationsError::Roots)?;
    crate::fs::remove::tree(&work)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("web.nix");
        ::nix::unistd::mkfifo(&pipe, ::nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Source::new(&pipe, &[]).unwrap_err();
        assert!(matches!(error, Error::ContainerFile { path, .. } if path == pipe));
    }
}
