//! What the host is, as far as a rendered configuration depends on it.

use std::path::{Path, PathBuf};

use crate::model::config::HostConfig;
use crate::model::layout::Layout;
use crate::render::{AppArmor, HostFacts};
use crate::sys::{cgroup, proc};
use crate::worker;

/// LXC's share folder is not where it could be.
#[derive(Debug, thiserror::Error)]
#[error("cannot find LXC's own configuration, common.conf (looked in {})", list(.tried))]
#[non_exhaustive]
pub struct FactsError {
    /// The folders that were looked at.
    pub tried: Vec<PathBuf>,
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Where distributions put LXC's share folder. A package that knows better says so when it is built.
fn share_folders(config: &HostConfig) -> Vec<PathBuf> {
    if let Some(share) = &config.paths.lxc_share {
        return vec![share.clone()];
    }
    let built_in = option_env!("NIXCLOUD_CONTAINER_LXC_SHARE").map(PathBuf::from);
    let usual = ["/usr/share/lxc", "/run/current-system/sw/share/lxc", "/usr/local/share/lxc"];
    built_in.into_iter().chain(usual.map(PathBuf::from)).collect()
}

/// Looks at the host.
///
/// # Errors
/// When LXC's share folder is not found.
pub(crate) fn probe(config: &HostConfig, layout: &Layout) -> Result<HostFacts, FactsError> {
    let folders: Vec<PathBuf> = share_folders(config).iter().map(|share| share.join("config")).collect();
    let Some(lxc_config_dir) = folders.iter().find(|folder| folder.join("common.conf").is_file()) else {
        return Err(FactsError { tried: folders });
    };
    Ok(HostFacts {
        lxc_config_dir: lxc_config_dir.clone(),
        apparmor: apparmor(Path::new("/sys/module/apparmor/parameters/enabled"), worker::PATH),
        processes: ["pid_max", "threads-max"].iter().filter_map(|key| kernel(key)).min().unwrap_or(u32::MAX),
        controllers: cgroup::controllers(),
        idmapped_store: !is_refused(layout),
    })
}

/// What of AppArmor there is: whether the kernel's file says that it is on, and whether LXC finds the program that compiles profiles
/// in its `PATH`.
fn apparmor(enabled: &Path, path: &str) -> AppArmor {
    if !std::fs::read_to_string(enabled).is_ok_and(|text| text.trim() == "Y") {
        return AppArmor::Off;
    }
    let has_parser = path.split(':').any(|folder| Path::new(folder).join("apparmor_parser").is_file());
    if has_parser { AppArmor::On } else { AppArmor::NoParser }
}

/// A number of the kernel's; one beyond what we count with is as good as none.
fn kernel(key: &str) -> Option<u32> {
    std::fs::read_to_string(Path::new("/proc/sys/kernel").join(key)).ok()?.trim().parse().ok()
}

/// A start in this boot found that the store cannot be idmapped.
fn note(layout: &Layout) -> PathBuf {
    layout.state().join("running").join(".store-not-idmapped")
}

fn is_refused(layout: &Layout) -> bool {
    let Ok(noted) = std::fs::read_to_string(note(layout)) else { return false };
    proc::boot_id().is_ok_and(|now| noted.trim() == now)
}

/// Remembers for this boot that LXC or the file system cannot idmap the store: the next starts do not try again.
pub(crate) fn refuse_idmapped_store(layout: &Layout) {
    if let Ok(boot) = proc::boot_id() {
        // Only saves time: without the note each start finds out anew.
        let _ = std::fs::write(note(layout), boot);
    }
}

/// The retry failed too: it was not the ids.
pub(crate) fn allow_idmapped_store(layout: &Layout) {
    let _ = std::fs::remove_file(note(layout));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_needs_the_kernel_and_its_compiler() {
        let folder = tempfile::tempdir().unwrap();
        let (enabled, path) = (folder.path().join("enabled"), folder.path().display().to_string());
        let found = || apparmor(&enabled, &format!("/nonexistent:{path}"));
        assert_eq!(found(), AppArmor::Off);
        std::fs::write(&enabled, "N\n").unwrap();
        assert_eq!(found(), AppArmor::Off);
        std::fs::write(&enabled, "Y\n").unwrap();
        assert_eq!(found(), AppArmor::NoParser);
        std::fs::write(folder.path().join("apparmor_parser"), "").unwrap();
        assert_eq!(found(), AppArmor::On);
    }

    #[test]
    fn a_missing_share_folder_is_named() {
        let mut config = HostConfig::default();
        config.paths.lxc_share = Some("/nonexistent/lxc".into());
        let layout = Layout::new(&config).unwrap();
        let error = probe(&config, &layout).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/lxc/config"), "{error}");
    }
}
