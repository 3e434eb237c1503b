//! Many containers from one: its files, copied as if each had been created. None of them is ever booted.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nixcloud_container::idmap;
use nixcloud_container::interface::InterfaceId;

/// One container that was created, and what others are to be made of it.
#[derive(Debug)]
pub struct Original<'a> {
    /// What stands before all paths.
    pub root: &'a Path,
    /// Its name.
    pub name: &'a str,
}

/// The value of a key of a record.
fn value<'t>(record: &'t str, key: &str) -> io::Result<&'t str> {
    let found = record.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    found
        .map(|value| value.trim_matches('"'))
        .ok_or_else(|| io::Error::other(format!("no {key} in the record")))
}

/// The `n`th range after that from `base` up, over the gap in the pool that is the default.
fn ids_after(base: u32, n: u32) -> u32 {
    let [[_, last], [second, _]] = idmap::POOL;
    let left = if base < last { (last - base + 1) / idmap::RANGE } else { u32::MAX };
    if n < left { base + n * idmap::RANGE } else { second + (n - left) * idmap::RANGE }
}

impl Original<'_> {
    fn state(&self) -> PathBuf {
        self.root.join("var/lib/nixcloud/container")
    }

    fn lxc(&self) -> PathBuf {
        self.root.join("var/lib/lxc")
    }

    fn profiles(&self) -> PathBuf {
        self.root.join("nix/var/nix/profiles/nixcloud-container")
    }

    /// The systems: each has a spec of its own, as a real one does.
    fn systems(&self) -> PathBuf {
        self.root.join("systems")
    }

    /// Makes `count` containers that `name` names, with the addresses and ids that follow those of this one.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn multiply(&self, count: u32, name: impl Fn(u32) -> String) -> io::Result<()> {
        let record = fs::read_to_string(self.state().join(format!("records/{}.toml", self.name)))?;
        let config = fs::read_to_string(self.lxc().join(self.name).join("config"))?;
        let spec = fs::read_to_string(self.profiles().join(self.name).join("profile/spec.json"))?;
        let (lease, ids) = (value(&record, "lease")?, value(&record, "ids")?);
        let first: Ipv4Addr = lease.parse().map_err(io::Error::other)?;
        let base: u32 = ids.parse().map_err(io::Error::other)?;
        let lxc = self.lxc().canonicalize()?;
        for n in 1..=count {
            let name = name(n);
            let address = Ipv4Addr::from(u32::from(first) + n).to_string();
            let ids_here = ids_after(base, n).to_string();
            let typed = name.parse().map_err(io::Error::other)?;
            let id = InterfaceId::of(&lxc, &typed, 0);
            let claims =
                [format!("addresses/{address}"), format!("ids/{ids_here}"), format!("interfaces/{id}")];
            for claim in claims {
                fs::write(self.state().join(claim), &name)?;
            }
            let text = record
                .replace(&format!("name = \"{}\"", self.name), &format!("name = \"{name}\""))
                .replace(&format!("\"{lease}\""), &format!("\"{address}\""))
                .replace(&format!("ids = {ids}\n"), &format!("ids = {ids_here}\n"));
            fs::write(self.state().join(format!("records/{name}.toml")), text)?;
            fs::create_dir_all(self.lxc().join(&name).join("rootfs"))?;
            fs::write(self.lxc().join(&name).join("config"), config.replace(lease, &address))?;
            let system = self.systems().join(&name);
            fs::create_dir_all(&system)?;
            fs::write(
                system.join("spec.json"),
                spec.replace(&format!("\"{lease}\""), &format!("\"{address}\"")),
            )?;
            let profile = self.profiles().join(&name);
            fs::create_dir_all(&profile)?;
            symlink(&system, profile.join("profile-1-link"))?;
            symlink("profile-1-link", profile.join("profile"))?;
        }
        Ok(())
    }

    /// Takes away all but the one.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        let record = format!("{}.toml", self.name);
        for folder in ["records", "addresses", "ids", "interfaces"] {
            for entry in fs::read_dir(self.state().join(folder))? {
                let path = entry?.path();
                let of_the_one = if folder == "records" {
                    path.ends_with(&record)
                } else {
                    fs::read_to_string(&path)?.trim() == self.name
                };
                if !of_the_one {
                    fs::remove_file(path)?;
                }
            }
        }
        for folder in [self.lxc(), self.profiles()] {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if !path.ends_with(self.name) {
                    fs::remove_dir_all(path)?;
                }
            }
        }
        fs::remove_dir_all(self.systems())
    }
}
