//! The container file's own lines and the items beside it: judged, rendered, looked through.

use std::path::{Path, PathBuf};

use super::extra::ExtraLine;
use super::extra::{self, ExtraError, ItemError};
use super::mount_entry::MountEntry;
use super::{Input, LockedSource, Text, bridge_port, further_macs, keys};
use crate::model::config::HostConfig;
use crate::model::spec::ContainerSpec;

/// The lines of the container file and the items beside it, as far as the rules of this program go.
fn judged(
    spec: &ContainerSpec,
    items: &[(String, String)],
    config: &HostConfig,
) -> Result<(Vec<ExtraLine>, Vec<ExtraLine>), ExtraError> {
    let allowed = &config.allow_lxc_keys;
    let lines = if spec.original {
        extra::keep(&spec.lxc_extra_config, allowed).0
    } else {
        extra::parse(&spec.lxc_extra_config, allowed)?
    };
    let items = extra::items(items, "item", allowed)?;
    for ExtraLine { number, key, value, .. } in lines.iter().chain(&items) {
        if let Some(why) = bridge_port::refused(config, key, value) {
            return Err(ExtraError { number: *number, line: format!("{key} = {value}"), why });
        }
    }
    Ok((lines, items))
}

pub(super) fn extra_lines(
    text: &mut Text,
    input: &Input<'_>,
    locked: &mut Vec<LockedSource>,
    needed: &mut Vec<PathBuf>,
) -> Result<Vec<(String, String)>, ExtraError> {
    let (lines, items) = judged(input.spec, input.items, input.config)?;
    let mut checked = Vec::with_capacity(lines.len() + items.len());
    for (lines, from) in [
        (lines, "lxcExtraConfig of the container file."),
        (items, "Items that were given with the container file, on the command line."),
    ] {
        if !lines.is_empty() {
            text.comment(from);
        }
        for line in lines {
            let ExtraLine { number, place, key, mut value } = line;
            if key == keys::MOUNT {
                let refuse = |why| ExtraError { number, line: format!("{key} = {value}"), why };
                let folder = input.layout.locked(input.name);
                let entry = MountEntry::parse(&value).map_err(refuse)?;
                needed.extend(entry.needs());
                value = locked_entry(&entry, &value, &folder, place, locked);
            }
            text.line(&key, &value);
            checked.push((key, value));
        }
    }
    let macs = further_macs(&checked, input.interface);
    if !macs.is_empty() {
        text.comment("MAC addresses of those interfaces, the same at each boot.");
    }
    macs.iter().for_each(|(key, mac)| text.line(key, mac));
    Ok(checked)
}

/// A mount entry, by way of the `locked` folder where it is a read-only bind.
fn locked_entry(
    entry: &MountEntry,
    value: &str,
    folder: &Path,
    place: String,
    locked: &mut Vec<LockedSource>,
) -> String {
    if !entry.locks() {
        return value.to_owned();
    }
    let rendered = entry.render(&folder.join(&place));
    locked.push(LockedSource {
        source: entry.source(),
        name: place,
        recursive: entry.has("rbind"),
        optional: entry.has("optional"),
        only_files: entry.has("idmap=container"),
    });
    rendered
}

/// Items for one boot alone, judged as lines of `lxcExtraConfig` are; their read-only sources join `locked`.
///
/// # Errors
/// The first item that is refused.
pub fn items(
    items: &[(String, String)],
    config: &HostConfig,
    folder: &Path,
    locked: &mut Vec<LockedSource>,
) -> Result<Vec<(String, String)>, ItemError> {
    let mut rendered = Vec::with_capacity(items.len());
    for (number, (key, value)) in items.iter().enumerate() {
        let (key, value) = (key.trim(), value.trim());
        extra::item(key, value, &config.allow_lxc_keys)?;
        if let Some(why) = bridge_port::refused(config, key, value) {
            return Err(ItemError { key: key.to_owned(), value: value.to_owned(), why });
        }
        let value = if key == keys::MOUNT {
            let refuse = |why| ItemError { key: key.to_owned(), value: value.to_owned(), why };
            let entry = MountEntry::parse(value).map_err(refuse)?;
            locked_entry(&entry, value, folder, format!("boot-{number}"), locked)
        } else {
            value.to_owned()
        };
        rendered.push((key.to_owned(), value));
    }
    Ok(rendered)
}

/// Lines as [`ContainerSpec::lxc_extra_config`] has them: the items among them that keep the protection, and why the
/// others do not.
#[must_use]
pub fn keep(lines: &str, config: &HostConfig) -> (Vec<(String, String)>, Vec<ExtraError>) {
    let (kept, refused) = extra::keep(lines, &config.allow_lxc_keys);
    (kept.into_iter().map(|line| (line.key, line.value)).collect(), refused)
}

/// The lines of `lxcExtraConfig` and the items beside them, for liblxc to check. What [`render`] would refuse of them is refused here: one check,
/// used before there is a container to render.
///
/// # Errors
/// The first line that is refused.
pub fn check_extra(
    spec: &ContainerSpec,
    items: &[(String, String)],
    config: &HostConfig,
) -> Result<Vec<(String, String)>, ExtraError> {
    let (lines, items) = judged(spec, items, config)?;
    let each = lines.into_iter().chain(items).map(|ExtraLine { number, key, value, .. }| {
        if key == keys::MOUNT {
            let refuse = |why| ExtraError { number, line: format!("{key} = {value}"), why };
            MountEntry::parse(&value).map_err(refuse)?;
        }
        Ok((key, value))
    });
    each.collect()
}

const GROUP: &str = "lxc.group";

/// The groups that items put a container into, in order.
#[must_use]
pub fn groups(items: &[(String, String)]) -> Vec<String> {
    items.iter().filter(|(key, _)| key == GROUP).map(|(_, value)| value.clone()).collect()
}

/// The groups that the next boot puts it into, found without rendering. Lines that are refused have none.
#[must_use]
pub fn next_groups(spec: &ContainerSpec, items: &[(String, String)], config: &HostConfig) -> Vec<String> {
    let lines = extra::parse(&spec.lxc_extra_config, &config.allow_lxc_keys).unwrap_or_default();
    let items = extra::items(items, "item", &config.allow_lxc_keys).unwrap_or_default();
    lines.into_iter().chain(items).filter(|line| line.key == GROUP).map(|line| line.value).collect()
}
