//! The Nix expression that evaluates container files: built in, and placed where Nix can read it.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::atomic::{self, Durability};
use crate::host::Host;
use crate::model::config::HostConfig;
use crate::store::rootfs;

/// `nix/` of the repository, the part that evaluates containers.
const FILES: &[(&str, &str)] = &[
    ("build.nix", include_str!("../../nix/build.nix")),
    ("containers.nix", include_str!("../../nix/containers.nix")),
    ("guest.nix", include_str!("../../nix/guest.nix")),
    ("keys.nix", include_str!("../../nix/keys.nix")),
    ("origin.nix", include_str!("../../nix/origin.nix")),
    ("package.nix", include_str!("../../nix/package.nix")),
    ("spec.nix", include_str!("../../nix/spec.nix")),
];

/// The path of `containers.nix`, written where it is missing or differs.
pub(crate) fn place(host: &Host) -> Result<PathBuf, Error> {
    if let Some(path) = &host.config.nix.expression {
        return Ok(path.clone());
    }
    let folder = host.layout.state().join("nix");
    rootfs::make_dirs(&folder, 0o755)?;
    write(&folder)
}

/// The same in a folder of the caller's, whose state stays as it is.
pub(crate) fn place_in(config: &HostConfig, folder: &Path) -> Result<PathBuf, Error> {
    config.nix.expression.clone().map_or_else(|| write(folder), Ok)
}

fn write(folder: &Path) -> Result<PathBuf, Error> {
    for (name, text) in FILES {
        atomic::write_if_changed(&folder.join(name), text.as_bytes(), 0o644, Durability::Volatile)?;
    }
    Ok(folder.join("containers.nix"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_imports_is_built_in() {
        let mut imports = 0;
        for (file, text) in FILES {
            for rest in text.split("import ./").skip(1) {
                let name: String =
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || ".-/".contains(*c)).collect();
                assert!(FILES.iter().any(|(known, _)| *known == name), "{file} imports {name}");
                imports += 1;
            }
        }
        assert!(imports >= 5, "{imports} only");
    }
}
