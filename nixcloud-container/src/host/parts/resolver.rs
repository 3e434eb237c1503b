//! Our dnsmasqs: names and addresses for guests, names of containers for the host.

use std::path::Path;

use crate::error::Error;
use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;
use crate::fs::remove;
use crate::host::Host;
use crate::host::name_files;
use crate::model::hint::{Hint, Remedy};
use crate::model::host_report::{Change, Finding, HostChange, Part, Verdict};
use crate::model::observe::Cancel;
use crate::render::dnsmasq::{self, DOMAIN, HOST_RESOLVER, Resolver};
use crate::store::rootfs;
use crate::sys::proc::Process;
use crate::sys::tool::Tool;
use crate::worker::resolver::{self, ResolverError};

const UP: Remedy = Remedy::HostUp;

/// Where systemd finds units that are there until the next boot.
const UNIT: &str = "/run/systemd/system/nixcloud-container-dns@.service";
/// What is there where systemd runs, and where its resolver does.
const SYSTEMD: &str = "/run/systemd/system";
const RESOLVED: &str = "/run/systemd/resolve/stub-resolv.conf";

fn unit(resolver: Resolver) -> String {
    format!("nixcloud-container-dns@{resolver}.service")
}

fn systemd(host: &Host, cancel: &Cancel) -> Option<Tool> {
    (host.is_whole() && Path::new(SYSTEMD).is_dir()).then(|| Tool::new(&host.config.tools.systemctl, cancel))
}

fn resolved(host: &Host, cancel: &Cancel) -> Option<Tool> {
    (host.is_whole() && Path::new(RESOLVED).exists())
        .then(|| Tool::new(&host.config.tools.resolvectl, cancel))
}

fn changed(resolver: Resolver, change: Change) -> HostChange {
    HostChange { part: Part::Resolver, name: resolver.to_string(), change }
}

/// One that is to run.
struct Wanted {
    resolver: Resolver,
    /// The process that it has.
    process: Option<Process>,
    /// Whether its configuration is another one now.
    differs: bool,
    /// Whether the one that it had did not answer, and was ended.
    hung: bool,
}

pub(super) fn up(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let program = resolver::program(&host.config.tools.dnsmasq)?;
    folders(host)?;
    name_files::rebuild(host)?;
    let mut all = Vec::new();
    for resolver in Resolver::ALL {
        let path = host.layout.resolver_config(resolver.as_str());
        let text = dnsmasq::config(resolver, &host.config, &host.layout);
        let differs = atomic::write_if_changed(&path, text.as_bytes(), 0o644, Durability::Volatile)?;
        all.push(Wanted {
            resolver,
            process: resolver::running(&host.layout, resolver),
            differs,
            hung: false,
        });
    }
    end_hung(host, &mut all)?;
    let anew = match systemd(host, cancel) {
        Some(systemctl) => by_systemd(host, &systemctl, &program, &all)?,
        None => by_ourselves(host, &program, &all)?,
    };
    for Wanted { resolver, process, differs, .. } in &all {
        let before = process.filter(|_| *differs);
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        resolver::wait(&host.layout, *resolver, resolver.address(&host.config), before)?;
    }
    if let Some(resolvectl) = resolved(host, cancel) {
        tell_resolved(host, &resolvectl)?;
    }
    let change = |Wanted { resolver, process, differs, hung }: &Wanted| {
        let change = match (process, differs) {
            (Some(_), false) if !anew => Change::Kept,
            (Some(_), _) => Change::Mended,
            (None, _) if *hung => Change::Mended,
            (None, _) => Change::Made,
        };
        changed(*resolver, change)
    };
    Ok(all.iter().map(change).collect())
}

/// Ends those that are there and do not answer: they are to begin anew.
fn end_hung(host: &Host, all: &mut [Wanted]) -> Result<(), Error> {
    let answer = answer_all(host);
    for (wanted, answers) in all.iter_mut().zip(answer) {
        if let Some(process) = wanted.process.filter(|_| !answers) {
            resolver::end_hung(process)?;
            (wanted.process, wanted.hung) = (None, true);
        }
    }
    Ok(())
}

/// Which of all resolvers answer, in their order; asked at the same time, since one that hangs is waited for.
fn answer_all(host: &Host) -> [bool; 3] {
    std::thread::scope(|scope| {
        let ask = |resolver: Resolver| {
            let address = resolver.address(&host.config);
            let runs = resolver::running(&host.layout, resolver).is_some();
            let look = move || runs && resolver::answers(address);
            // Where the host has no room for another thread they are asked one by one.
            std::thread::Builder::new().spawn_scoped(scope, look).map_err(|_| look)
        };
        Resolver::ALL
            .map(ask)
            .map(|asked| asked.map_or_else(|look| look(), |thread| thread.join().unwrap_or(false)))
    })
}

/// dnsmasq runs as nobody and reads its files again as such: it must get through the folders.
fn folders(host: &Host) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let state = host.layout.state();
    let failed = FileError::at("open", state);
    let mode = state.metadata().map_err(failed)?.permissions().mode();
    // What is in it and is nobody's business is closed itself.
    std::fs::set_permissions(state, PermissionsExt::from_mode(mode & 0o7777 | 0o011)).map_err(failed)?;
    rootfs::make_dirs(&host.layout.resolvers(), 0o755)?;
    for folder in name_files::folders(host) {
        rootfs::make_dirs(&folder, 0o755)?;
    }
    Ok(())
}

/// Says whether all of them began anew.
fn by_systemd(host: &Host, systemctl: &Tool, program: &Path, all: &[Wanted]) -> Result<bool, Error> {
    let text = dnsmasq::unit(program, &host.layout);
    if atomic::write_if_changed(Path::new(UNIT), text.as_bytes(), 0o644, Durability::Volatile)? {
        systemctl.run(&["daemon-reload"], "")?;
    }
    for Wanted { resolver, process, differs, .. } in all {
        if process.is_none() {
            forget_words(host, *resolver);
        }
        let verb = if *differs { "restart" } else { "start" };
        systemctl.run(&[verb, &unit(*resolver)], "")?;
        if !differs {
            resolver::reload(&host.layout, *resolver)?;
        }
    }
    Ok(false)
}

/// Says whether all of them began anew.
fn by_ourselves(host: &Host, program: &Path, all: &[Wanted]) -> Result<bool, Error> {
    // A supervisor that waits before it tries again would be waited for.
    if all.iter().any(|wanted| wanted.process.is_none()) {
        resolver::stop(&host.layout)?;
    }
    for Wanted { resolver, process, differs, .. } in all {
        match (process, differs) {
            (Some(_), true) => drop(resolver::restart(&host.layout, *resolver)?),
            (Some(_), false) => drop(resolver::reload(&host.layout, *resolver)?),
            (None, _) => forget_words(host, *resolver),
        }
    }
    Ok(resolver::supervise(&host.layout, program, &host.worker)?)
}

/// What one said the last time it could not start; it need not have said anything.
fn forget_words(host: &Host, resolver: Resolver) {
    let _ = std::fs::remove_file(host.layout.resolver_log(resolver.as_str()));
}

/// Names of containers, and no others, are asked of our resolver. Nothing else of the host's changes.
fn tell_resolved(host: &Host, resolvectl: &Tool) -> Result<(), Error> {
    let bridge = host.config.network.hostonly.bridge.as_str();
    resolvectl.run(&["dns", bridge, &HOST_RESOLVER.to_string()], "")?;
    resolvectl.run(&["domain", bridge, &format!("~{DOMAIN}")], "")?;
    Ok(())
}

pub(super) fn down(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let mut some = false;
    if let Some(systemctl) = systemd(host, cancel)
        && Path::new(UNIT).exists()
    {
        some = true;
        for resolver in Resolver::ALL {
            systemctl.run(&["stop", &unit(resolver)], "")?;
        }
        std::fs::remove_file(UNIT).map_err(FileError::at("remove", UNIT))?;
        systemctl.run(&["daemon-reload"], "")?;
    }
    some |= resolver::stop(&host.layout)?;
    // What systemd-resolved was told goes with the bridge.
    remove::tree(&host.layout.resolvers())?;
    let change = if some { Change::Removed } else { Change::Absent };
    Ok(Resolver::ALL.map(|resolver| changed(resolver, change)).into())
}

pub(super) fn check(host: &Host, cancel: &Cancel) -> Result<Vec<Finding>, Error> {
    if let Err(error @ ResolverError::Missing { .. }) = resolver::program(&host.config.tools.dnsmasq) {
        let what = format!("{error}: guests get no address on the bridge that leads out, and no names");
        let mend = Hint::from("install dnsmasq (Debian: dnsmasq-base), then ").remedy(UP);
        return Ok(vec![Finding::wrong(Part::Resolver, Resolver::Internet.as_str(), what, mend)]);
    }
    let supervised = systemd(host, cancel).is_some() || resolver::supervisor(&host.layout).is_some();
    let answer = answer_all(host);
    let looked_at = Resolver::ALL
        .into_iter()
        .zip(answer)
        .map(|(resolver, answers)| look(host, resolver, answers, supervised));
    Ok(looked_at.chain([on_host(host, cancel)]).collect())
}

fn look(host: &Host, resolver: Resolver, answers: bool, supervised: bool) -> Finding {
    let address = resolver.address(&host.config);
    let wrong = |what: &str| Finding::wrong(Part::Resolver, resolver.as_str(), what, UP);
    let text = std::fs::read_to_string(host.layout.resolver_config(resolver.as_str())).unwrap_or_default();
    if resolver::running(&host.layout, resolver).is_none() {
        let words = std::fs::read_to_string(host.layout.resolver_log(resolver.as_str())).unwrap_or_default();
        let words = words.trim();
        let why = if words.is_empty() { String::new() } else { format!(": {words}") };
        let what = format!("nothing answers on {address}{why}");
        return match resolver::in_the_way(words) {
            Some(way) => Finding::wrong(
                Part::Resolver,
                resolver.as_str(),
                what,
                Hint::from(format!("{way}; then ")).remedy(UP),
            ),
            None => wrong(&what),
        };
    }
    if text != dnsmasq::config(resolver, &host.config, &host.layout) {
        return wrong("it runs with another configuration");
    }
    if !answers {
        return wrong(&format!("it is there and does not answer on {address}"));
    }
    if !supervised {
        return wrong(&format!("it answers on {address}, but nobody would start it again"));
    }
    let what = match resolver {
        Resolver::Hostonly => format!("names for guests on {address}"),
        Resolver::Internet => format!("names and addresses for guests on {address}"),
        Resolver::Host => format!("names of containers on {address}, for this host alone"),
    };
    Finding::good(Part::Resolver, resolver.as_str(), what)
}

/// Whether the host itself knows containers by their names.
fn on_host(host: &Host, cancel: &Cancel) -> Finding {
    let name = format!("*.{DOMAIN}");
    let bridge = host.config.network.hostonly.bridge.as_str();
    let domains = resolved(host, cancel).and_then(|resolvectl| resolvectl.run(&["domain", bridge], "").ok());
    match domains {
        Some(text) if text.contains(&format!("~{DOMAIN}")) => {
            Finding::good(Part::Names, name, "the host asks for them by systemd-resolved")
        }
        Some(_) => Finding::wrong(Part::Names, name, "systemd-resolved does not know of them", UP),
        None => Finding {
            part: Part::Names,
            name,
            verdict: Verdict::Off,
            what: "the host does not ask for them: no systemd-resolved runs here".to_owned(),
            mend: Some(Hint::from(format!(
                "tell the resolver of the host: `server=/{DOMAIN}/{HOST_RESOLVER}` in dnsmasq, \
                 `forward-zone: name: {DOMAIN}, forward-addr: {HOST_RESOLVER}` in unbound, or `nameserver \
                 {HOST_RESOLVER}` as the first line of /etc/resolv.conf"
            ))),
        },
    }
}
