//! The folders of records, of notes about running guests, of locks and of the journal: watched as far as they are there, and what
//! leads there until they are.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use rustix::fs::inotify::WatchFlags;

use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::sys::inotify::{Inotify, Told, WatchId};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Records,
    Runs,
    Locks,
    Journal,
    /// Nothing of ours: a folder on the way to one that is not there yet.
    Way,
}

/// What has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The record of a container, or the note about its guest.
    Container(ContainerName),
    /// The lock of a container.
    Lock(ContainerName),
    /// Changes were lost, or folders came and went: all is to be looked at again.
    All,
}

/// The folders.
#[derive(Debug)]
pub(super) struct Folders {
    inotify: Inotify,
    ours: [(Kind, PathBuf, WatchFlags); 4],
    watched: HashMap<WatchId, Kind>,
}

const GOES: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);

impl Folders {
    pub(super) fn new(layout: &Layout) -> io::Result<Self> {
        let files = WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::ATTRIB;
        let ours = [
            (Kind::Records, layout.records(), files),
            (Kind::Runs, layout.runs(), WatchFlags::MOVED_TO | WatchFlags::DELETE),
            // Where its holder was killed the kernel closes the file, and says so.
            (Kind::Locks, layout.container_locks(), WatchFlags::CLOSE_WRITE | WatchFlags::DELETE),
            (Kind::Journal, layout.journal(), WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO),
        ];
        let mut folders = Self { inotify: Inotify::new()?, ours, watched: HashMap::new() };
        folders.follow()?;
        Ok(folders)
    }

    pub(super) fn inotify(&self) -> &Inotify {
        &self.inotify
    }

    /// Watches what is there of the folders by now.
    fn follow(&mut self) -> io::Result<()> {
        let mut watched = HashMap::new();
        for (kind, path, changes) in &self.ours {
            let on_the_way = WatchFlags::CREATE | WatchFlags::MOVED_TO | GOES;
            loop {
                if let Some(watch) = self.inotify.folder(path, *changes | GOES)? {
                    watched.insert(watch, *kind);
                    break;
                }
                let above = path.ancestors().skip(1);
                let found = above
                    .map(|folder| (folder, self.inotify.folder(folder, on_the_way)))
                    .find(|(_, watch)| !matches!(watch, Ok(None)));
                let Some((folder, watch)) = found else { break };
                if let Some(watch) = watch? {
                    watched.entry(watch).or_insert(Kind::Way);
                }
                // It may have been made before it was watched.
                let next = path.ancestors().take_while(|next| *next != folder).last();
                if next.is_none_or(|next| !next.exists()) {
                    break;
                }
            }
        }
        for watch in self.watched.keys().filter(|watch| !watched.contains_key(*watch)) {
            self.inotify.remove(*watch);
        }
        self.watched = watched;
        Ok(())
    }

    /// What has changed since the last call.
    pub(super) fn read(&mut self) -> io::Result<Vec<News>> {
        let mut news = Vec::new();
        let mut moved = false;
        for told in self.inotify.read()? {
            match told {
                Told::Overflow => news.push(News::All),
                Told::Over { watch } => moved |= self.watched.remove(&watch).is_some(),
                Told::Change { watch, name } => match (self.watched.get(&watch), name) {
                    // Of a watch that is over.
                    (None, _) => {}
                    (Some(Kind::Way), _) | (Some(_), None) => moved = true,
                    (Some(Kind::Records | Kind::Runs), Some(name)) => {
                        news.extend(of_record(&name).map(News::Container));
                    }
                    (Some(Kind::Locks), Some(name)) => {
                        news.extend(name.to_str().and_then(|name| name.parse().ok()).map(News::Lock));
                    }
                    // It is read at each turn.
                    (Some(Kind::Journal), Some(_)) => {}
                },
            }
        }
        if moved {
            self.follow()?;
            news.push(News::All);
        }
        news.dedup();
        Ok(news)
    }
}

fn of_record(name: &OsStr) -> Option<ContainerName> {
    name.to_str()?.strip_suffix(".toml")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::model::config::HostConfig;

    fn layout(root: &Path) -> Layout {
        Layout::new(&HostConfig { root: root.to_owned(), ..HostConfig::default() }).unwrap()
    }

    fn web() -> ContainerName {
        "web".parse().unwrap()
    }

    #[test]
    fn folders_that_come_and_go_are_followed() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path());
        let mut folders = Folders::new(&layout).unwrap();
        assert_eq!(folders.read().unwrap(), []);
        for folder in layout.state_dirs().into_iter().chain([layout.journal()]) {
            fs::create_dir_all(folder).unwrap();
            assert!(folders.read().unwrap().iter().all(|news| *news == News::All));
        }
        let write = |path: &Path| {
            let new = path.with_extension("new");
            fs::write(&new, "").unwrap();
            fs::rename(new, path).unwrap();
        };
        write(&layout.record(&web()));
        assert_eq!(folders.read().unwrap(), [News::Container(web())]);
        fs::write(layout.container_lock(&web()), "1\n").unwrap();
        fs::write(layout.journal_now(), "\n").unwrap();
        assert_eq!(folders.read().unwrap(), [News::Lock(web())]);
        fs::remove_dir_all(layout.state()).unwrap();
        assert!(folders.read().unwrap().contains(&News::All));
        folders.read().unwrap();
        fs::create_dir_all(layout.records()).unwrap();
        assert_eq!(folders.read().unwrap(), [News::All]);
        write(&layout.record(&web()));
        assert_eq!(folders.read().unwrap(), [News::Container(web())]);
    }

    /// The kernel's own queue: more changes than it keeps, none of which is the same as the one before.
    #[test]
    fn more_changes_than_the_kernel_keeps_lead_to_a_look_at_all() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path());
        for folder in layout.state_dirs().into_iter().chain([layout.journal()]) {
            fs::create_dir_all(folder).unwrap();
        }
        let mut folders = Folders::new(&layout).unwrap();
        let limit: usize =
            fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
        let [one, other] = ["a.toml", "b.toml"].map(|name| layout.runs().join(name));
        fs::write(&one, "").unwrap();
        for turn in 0..=limit {
            let (from, to) = if turn % 2 == 0 { (&one, &other) } else { (&other, &one) };
            fs::rename(from, to).unwrap();
        }
        assert!(folders.read().unwrap().contains(&News::All));
        assert_eq!(folders.read().unwrap(), []);
    }
}
