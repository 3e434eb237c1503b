//! The journal of a host: what operations did to containers, line by line, for whoever watches and for whoever asks what happened.
//!
//! It helps who reads and hinders nobody: an operation that cannot write it goes on all the same, and what it lacks is
//! found by looking at records and guests. Two files of bounded size, the older of which goes when the newer is full.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::model::generation::GenerationId;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::occurrence::Operation;
use crate::sys::proc::Process;

/// The size at which a file is full: about 2,000 lines.
const FULL: u64 = 256 << 10;

/// A line that is longer is none of ours.
const LONGEST: u64 = 4 << 10;

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// When it was written.
    pub(crate) at: Timestamp,
    /// The container.
    pub(crate) name: ContainerName,
    /// What was done to it.
    #[serde(flatten)]
    pub(crate) note: Note,
}

/// What an operation notes. A line that a newer version writes is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Note {
    /// An operation has got the container's lock.
    Begun {
        /// The operation.
        operation: Operation,
        /// Its process.
        pid: u32,
    },
    /// That operation is about to free the lock.
    Done,
    /// The container is whole.
    Created {
        /// Its first generation.
        generation: GenerationId,
    },
    /// A guest of it runs.
    Started {
        /// Its init.
        init: Process,
        /// The generation that it was booted from.
        generation: Option<GenerationId>,
    },
    /// What its init is about to be sent.
    Asked {
        /// That init.
        init: Process,
        /// For what.
        wish: Wish,
    },
    /// A guest of it is gone, with all that was known of it.
    Ended {
        /// Its init.
        init: Process,
    },
    /// Its processes are frozen.
    Frozen,
    /// Its processes go on.
    Unfrozen,
    /// Another generation counts.
    Switched {
        /// The one before.
        from: GenerationId,
        /// The one that does.
        to: GenerationId,
    },
    /// It is gone.
    Destroyed,
}

/// What an operation wants of a guest's init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wish {
    /// That it shuts down.
    Halt,
    /// That it reboots.
    Reboot,
    /// Its end, at once.
    Kill,
}

/// Notes what was done to a container, as far as there is room. Called with the container's lock, so that its lines are in
/// the order of what they say.
pub(crate) fn note(layout: &Layout, name: &ContainerName, note: Note) {
    let line = Line { at: Timestamp::now(), name: name.clone(), note };
    if let Err(error) = write(layout, &line) {
        tracing::debug!(%name, %error, ?line, "not written into the journal");
    }
}

fn write(layout: &Layout, line: &Line) -> io::Result<()> {
    let path = layout.journal_now();
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(match open(flags) {
        Err(Errno::NOENT) => {
            // Mostly it is there, and else the next call says why it cannot be.
            let _ = rustix::fs::mkdir(layout.journal(), Mode::RWXU);
            open(flags | OFlags::CREATE)?
        }
        other => other?,
    });
    // With an end of its own before it: the line before may have been cut off by a disk that was full then.
    let mut text = vec![b'\n'];
    serde_json::to_writer(&mut text, line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    if file.metadata()?.len() > FULL { turn_over(layout, &file) } else { Ok(()) }
}

/// Makes room: the newer file takes the place of the older one, unless somebody else has just done so.
fn turn_over(layout: &Layout, file: &File) -> io::Result<()> {
    let folder = File::open(layout.journal())?;
    // Whoever has it does the same.
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        other => other?,
    }
    let now = layout.journal_now();
    if is_at(file, &now) { std::fs::rename(now, layout.journal_before()) } else { Ok(()) }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(file), Ok(path)) => (file.dev(), file.ino()) == (path.dev(), path.ino()),
        _ => false,
    }
}

/// The journal, read on and on.
#[derive(Debug)]
pub(crate) struct Reader {
    now: PathBuf,
    before: PathBuf,
    /// The newer file, as far as it is read; `None` before there is one.
    newer: Option<Tail>,
    /// The one before it: who had opened it may still write a line there.
    older: Option<Tail>,
}

/// A file that is read to its end, again and again.
#[derive(Debug)]
struct Tail {
    reader: BufReader<File>,
    /// The begin of a line whose end was not there yet.
    begun: Vec<u8>,
}

impl Reader {
    /// From the oldest line that there is.
    pub(crate) fn new(layout: &Layout) -> Self {
        let (now, before) = (layout.journal_now(), layout.journal_before());
        let older = Tail::open(&before);
        Self { now, before, newer: None, older }
    }

    /// The lines that there are since the last call, and whether there may have been others between that are gone.
    pub(crate) fn read(&mut self) -> (Vec<Line>, bool) {
        let mut lines = Vec::new();
        let mut lost = false;
        if let Some(older) = &mut self.older {
            older.read(&mut lines);
        }
        if let Some(newer) = &mut self.newer {
            newer.read(&mut lines);
        }
        let turned = self.newer.as_ref().is_none_or(|newer| !is_at(newer.reader.get_ref(), &self.now));
        if turned && let Some(next) = Tail::open(&self.now) {
            if let Some(mut last) = self.newer.replace(next) {
                last.read(&mut lines);
                self.older = Some(last);
            }
            lost = self.before.exists()
                && self.older.as_ref().is_none_or(|older| !is_at(older.reader.get_ref(), &self.before));
            if let Some(newer) = &mut self.newer {
                newer.read(&mut lines);
            }
        }
        (lines, lost)
    }
}

impl Tail {
    fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?);
        file.metadata().ok()?.is_file().then(|| Self { reader: BufReader::new(file), begun: Vec::new() })
    }

    /// Reads to the end of the file. What is no line of ours is passed over.
    fn read(&mut self, lines: &mut Vec<Line>) {
        loop {
            match self.reader.read_until(b'\n', &mut self.begun) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if self.begun.last() != Some(&b'\n') {
                if self.begun.len() as u64 > LONGEST {
                    self.begun.clear();
                }
                // The rest is read when it is there.
                return;
            }
            lines.extend(serde_json::from_slice::<Line>(&self.begun).ok());
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::HostConfig;

    fn layout() -> (tempfile::TempDir, Layout, ContainerName) {
        let root = tempfile::tempdir().unwrap();
        let layout =
            Layout::new(&HostConfig { root: root.path().to_owned(), ..HostConfig::default() }).unwrap();
        std::fs::create_dir_all(layout.state()).unwrap();
        (root, layout, "web".parse().unwrap())
    }

    fn notes(lines: &[Line]) -> Vec<&Note> {
        lines.iter().map(|line| &line.note).collect()
    }

    #[test]
    fn what_is_noted_is_read_once_and_torn_lines_harm_no_other() {
        let (_root, layout, name) = layout();
        let mut early = Reader::new(&layout);
        assert_eq!(early.read(), (vec![], false));
        note(&layout, &name, Note::Frozen);
        assert_eq!(notes(&early.read().0), [&Note::Frozen]);
        assert_eq!(early.read(), (vec![], false));
        let mut file = File::options().append(true).open(layout.journal_now()).unwrap();
        file.write_all(b"\n{\"at\":\"2026-01-01T00:00:00Z\",\"name\":\"web\",\"is\":\"frozen").unwrap();
        assert_eq!(early.read(), (vec![], false));
        file.write_all(b"\"}\n{\"is\":\"of tomorrow\"}\n{\"at\":\"20").unwrap();
        assert_eq!(notes(&early.read().0), [&Note::Frozen]);
        note(&layout, &name, Note::Unfrozen);
        assert_eq!(notes(&early.read().0), [&Note::Unfrozen]);
        assert_eq!(notes(&Reader::new(&layout).read().0), [&Note::Frozen, &Note::Frozen, &Note::Unfrozen]);
    }

    #[test]
    fn its_size_is_bounded_and_who_reads_on_misses_nothing() {
        let (_root, layout, name) = layout();
        let mut reader = Reader::new(&layout);
        let mut late = Reader::new(&layout);
        let generation = |number| GenerationId::new(number).unwrap();
        let (mut written, mut read) = (0, Vec::new());
        for number in 1..=12_000 {
            note(&layout, &name, Note::Created { generation: generation(number) });
            written = number;
            if number % 700 == 0 {
                let (lines, lost) = reader.read();
                assert!(!lost);
                read.extend(lines);
            }
        }
        let (lines, lost) = reader.read();
        read.extend(lines);
        assert!(!lost);
        let numbers: Vec<_> =
            (1..=written).map(|number| Note::Created { generation: generation(number) }).collect();
        assert_eq!(notes(&read), numbers.iter().collect::<Vec<_>>());
        for path in [layout.journal_now(), layout.journal_before()] {
            assert!(path.metadata().unwrap().len() < FULL + LONGEST, "{}", path.display());
        }
        // One who began before all that, and slept, knows at least that something is missing, or has it all.
        note(&layout, &name, Note::Frozen);
        let first = late.read();
        assert_eq!(notes(&first.0).last(), Some(&&Note::Frozen));
    }

    #[test]
    fn what_cannot_be_written_fails_nobody() {
        let (_root, layout, name) = layout();
        std::fs::create_dir_all(layout.journal_now()).unwrap();
        note(&layout, &name, Note::Frozen);
        assert_eq!(Reader::new(&layout).read(), (vec![], false));
        std::fs::remove_dir(layout.journal_now()).unwrap();
        std::fs::remove_dir(layout.journal()).unwrap();
        std::fs::write(layout.journal(), "").unwrap();
        note(&layout, &name, Note::Frozen);
        assert_eq!(Reader::new(&layout).read(), (vec![], false));
    }
}
