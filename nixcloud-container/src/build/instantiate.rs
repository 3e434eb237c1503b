//! Evaluating container files: one run of Nix for any number of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::build::expression;
use crate::build::source::Source;
use crate::error::Error;
use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;
use crate::host::{self, Host};
use crate::model::config::HostConfig;
use crate::model::idmap::IdMapKind;
use crate::model::name::ContainerName;
use crate::model::note::DeclarationNote;
use crate::model::observe::{Cancel, Observer};
use crate::model::spec::{ContainerSpec, SCHEMA, SpecError};
use crate::net::{Link, Netlink};
use crate::nix::{self, Mode, Nix, SearchPath, StorePath, UserArgs};
use crate::store::record::Record;
use crate::store::reference::ValuePlace;

/// The request to `nix/containers.nix`.
#[derive(Serialize)]
struct Question<'a> {
    schema: u32,
    system: String,
    want: &'static str,
    /// The prefix lengths of the host's bridges: what a fixed address on one of them has by default.
    bridges: BTreeMap<String, u8>,
    containers: BTreeMap<&'a ContainerName, Entry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<Place<'a>>,
}

/// Where a value is, and what it is called.
#[derive(Serialize)]
struct Place<'a> {
    #[serde(flatten)]
    origin: &'a ValuePlace,
    label: &'a Path,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    ip: Option<Ipv4Addr>,
    prefix_length: u8,
    /// What a file has that does not say.
    idmap: IdMapKind,
    /// The host on the standard bridge, which answers there: for a guest that has no other name server.
    nameserver: Ipv4Addr,
}

/// Its answers.
#[derive(Deserialize)]
struct Reply {
    schema: u32,
    containers: BTreeMap<ContainerName, Evaluable>,
}

#[derive(Deserialize)]
struct Evaluable {
    drv: StorePath,
    out: StorePath,
    spec: serde_json::Value,
}

#[derive(Deserialize)]
struct Names {
    schema: u32,
    names: Vec<String>,
}

/// A container that is to be evaluated, and the address that it is offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a ContainerName,
    pub(crate) source: &'a Source,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) idmap: IdMapKind,
}

impl<'a> Asked<'a> {
    /// A container that has a record.
    pub(crate) fn of(record: &'a Record, source: &'a Source) -> Self {
        // The ids of a container that the shell original made stay its own, unless its file says otherwise.
        let idmap = if record.adopted.is_some() { record.idmap } else { IdMapKind::default() };
        Self { name: &record.name, source, ip: record.lease, idmap }
    }
}

/// An evaluated container: nothing is built yet.
#[derive(Debug, Clone)]
pub(crate) struct Evaluated {
    /// The generation's derivation.
    pub(crate) drv: StorePath,
    /// The generation.
    pub(crate) out: StorePath,
    pub(crate) spec: ContainerSpec,
    /// The address that it was offered.
    pub(crate) offered: Option<Ipv4Addr>,
}

impl Evaluated {
    /// Whether it has the address that it was offered.
    pub(crate) fn takes_offer(&self) -> bool {
        self.spec.network.ip.is_none() && self.spec.effective.ip.is_some()
    }
}

/// A folder with a request in it, and Nix.
#[derive(Debug)]
pub(crate) struct Instantiator<'a> {
    config: &'a HostConfig,
    nix: Nix,
    expression: PathBuf,
    folder: PathBuf,
    read_only: bool,
}

impl<'a> Instantiator<'a> {
    /// For what is to be built. `folder` must exist.
    pub(crate) fn of(host: &'a Host, folder: PathBuf) -> Result<Self, Error> {
        Ok(Self {
            config: &host.config,
            nix: host.nix(),
            expression: expression::place(host)?,
            folder,
            read_only: false,
        })
    }

    /// For what is only looked at: all that is written is in `folder`. With `read_only` derivations are not written.
    pub(crate) fn apart(config: &'a HostConfig, folder: &Path, read_only: bool) -> Result<Self, Error> {
        let expression = expression::place_in(config, folder)?;
        Ok(Self { config, nix: host::nix(config), expression, folder: folder.to_owned(), read_only })
    }

    /// Evaluates one container.
    pub(crate) fn container(
        &self,
        asked: Asked<'_>,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<Evaluated, Error> {
        let mut all = self.ask(&[asked], observer, cancel)?;
        all.remove(asked.name).unwrap_or_else(|| Err(incomplete(asked.name)))
    }

    /// Evaluates containers that have the same arguments for Nix, in one run. Where it fails, the one that it fails for is
    /// left out of the next, so that only those fail that are wrong.
    ///
    /// # Errors
    /// Where it fails for another reason than a container.
    pub(crate) fn containers(
        &self,
        asked: &[Asked<'_>],
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<BTreeMap<ContainerName, Result<Evaluated, Error>>, Error> {
        let mut results = BTreeMap::new();
        let mut left = asked.to_vec();
        while !left.is_empty() {
            let error = match self.ask(&left, observer, cancel) {
                Ok(all) => {
                    results.extend(all);
                    break;
                }
                Err(Error::Nix(error)) if is_of_a_container(&error) => error,
                Err(error) => return Err(error),
            };
            let known = |name: &str| left.iter().position(|asked| asked.name.as_str() == name);
            match culprit(&error).and_then(|name| known(&name)) {
                Some(at) => {
                    let wrong = left.remove(at);
                    tracing::debug!(name = %wrong.name, "left out of the evaluation");
                    results.insert(wrong.name.clone(), Err(Error::Nix(error)));
                }
                None if left.len() == 1 => {
                    results.insert(left[0].name.clone(), Err(Error::Nix(error)));
                    break;
                }
                // Its words name none: each once more, alone.
                None => {
                    for one in left {
                        results.extend(self.containers(&[one], observer, cancel)?);
                    }
                    break;
                }
            }
        }
        Ok(results)
    }

    /// The names in a set.
    pub(crate) fn names(
        &self,
        set: &Source,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<Vec<String>, Error> {
        let place = Place { origin: &set.reference.origin, label: &set.reference.text };
        let request = Question {
            schema: SCHEMA,
            system: self.system(),
            want: "names",
            bridges: BTreeMap::new(),
            containers: BTreeMap::new(),
            set: Some(place),
        };
        let reply: Names = self.run(&request, &set.user, set.reference.is_flake(), observer, cancel)?;
        known_schema(reply.schema)?;
        Ok(reply.names)
    }

    fn ask<'b>(
        &self,
        asked: &[Asked<'b>],
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<BTreeMap<ContainerName, Result<Evaluated, Error>>, Error> {
        let Some(first) = asked.first() else { return Ok(BTreeMap::new()) };
        let entry = |asked: &Asked<'b>| Entry {
            place: Place { origin: &asked.source.reference.origin, label: &asked.source.reference.text },
            ip: asked.ip,
            prefix_length: self.config.network.hostonly.address.prefix(),
            idmap: asked.idmap,
            nameserver: self.config.network.hostonly.address.ip(),
        };
        let request = Question {
            schema: SCHEMA,
            system: self.system(),
            want: "build",
            bridges: bridges()?,
            containers: asked.iter().map(|asked| (asked.name, entry(asked))).collect(),
            set: None,
        };
        let flakes = asked.iter().any(|asked| asked.source.reference.is_flake());
        let reply: Reply = self.run(&request, &first.source.user, flakes, observer, cancel)?;
        known_schema(reply.schema)?;
        let mut answers = reply.containers;
        let mut results = BTreeMap::new();
        for one in asked {
            let answer = answers.remove(one.name).ok_or_else(|| incomplete(one.name));
            let evaluated = answer.and_then(|answer| read(one, answer));
            results.insert(one.name.clone(), evaluated);
        }
        Ok(results)
    }

    fn system(&self) -> String {
        let system = self.config.nix.system.clone();
        system.unwrap_or_else(|| format!("{}-linux", std::env::consts::ARCH))
    }

    fn run<T: serde::de::DeserializeOwned>(
        &self,
        request: &Question<'_>,
        user: &UserArgs,
        flakes: bool,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<T, Error> {
        let path = self.folder.join("request.json");
        let json = serde_json::to_vec(request).map_err(FileError::at("write", &path))?;
        atomic::write(&path, &json, 0o600, Durability::Volatile)?;
        let mut search = SearchPath::new();
        if let Some(nixpkgs) = &self.config.nix.nixpkgs {
            search = search.with("nixpkgs", nixpkgs);
        }
        // Where nix.conf has `restrict-eval`, what was named is allowed.
        let places = request.containers.values().map(|entry| &entry.place).chain(&request.set);
        let folders: BTreeSet<&Path> = places.filter_map(|place| place.origin.folder()).collect();
        for folder in folders {
            search = search.with_container_files(folder);
        }
        let mode = Mode::default().read_only(self.read_only).flakes(flakes);
        Ok(self.nix.evaluate(&self.expression, &path, &search, user, mode, observer, cancel)?)
    }
}

fn read(asked: &Asked<'_>, answer: Evaluable) -> Result<Evaluated, Error> {
    let json = serde_json::to_vec(&answer.spec).map_err(SpecError::from)?;
    let spec = ContainerSpec::from_json(&json)?;
    Ok(Evaluated { drv: answer.drv, out: answer.out, spec, offered: asked.ip })
}

/// Says so where a container file proposes another name than the container has.
pub(crate) fn note_name(name: &ContainerName, spec: &ContainerSpec, observer: &mut dyn Observer) {
    if let Some(own) = spec.name.as_ref().filter(|own| *own != name) {
        let note = DeclarationNote::OtherName { name: name.clone(), proposed: own.clone() };
        observer.event(note.into());
    }
}

fn known_schema(found: u32) -> Result<(), Error> {
    if found == SCHEMA { Ok(()) } else { Err(SpecError::Newer { found }.into()) }
}

fn incomplete(name: &ContainerName) -> Error {
    Error::Incomplete { name: name.clone(), what: "evaluation" }
}

/// Whether Nix ran and failed: it may be for one container alone.
fn is_of_a_container(error: &nix::Error) -> bool {
    matches!(
        error,
        nix::Error::Evaluation { .. }
            | nix::Error::Build { .. }
            | nix::Error::Failed { .. }
            | nix::Error::Killed { .. }
    )
}

/// The container that an evaluation failed for: the expression's own words name it, at the end of a trace or as the
/// beginning of a message.
fn culprit(error: &nix::Error) -> Option<String> {
    const STEP: &str = "while evaluating container '";
    let name = |text: &str| text.split_once('\'').map(|(name, _)| name.to_owned());
    if let nix::Error::Evaluation { message, .. } = error
        && let Some(rest) = message.strip_prefix("container '")
    {
        return name(rest);
    }
    let details = error.details()?;
    name(&details[details.rfind(STEP)? + STEP.len()..])
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
