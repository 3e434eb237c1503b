//! liblxc's log, the only place where it says why: set up once a process, kept off standard error, read by record.
//!
//! # Why standard error is taken from C
//!
//! Once liblxc has opened a log file it also prints each error to C's `stderr`, whatever `quiet` says, also in the
//! process that is about to become a command of the guest; and `lxc_container_new` prints by itself. [`Log::init`]
//! gives C's `stderr` a buffer that is thrown away after each call and never written. Descriptor 2 is left alone:
//! Rust's own messages and the commands of guests are not affected.

use std::ffi::CString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;

use ::nix::sys::memfd::{MFdFlags, memfd_create};

use super::token::Worker;
pub use crate::model::log_level::{Level, UnknownLevel};

/// Room for what liblxc prints in one call. Pages are only used when written.
const STDERR_BUFFER: usize = 1 << 20;

// The C library's; the libc crate has neither for glibc.
unsafe extern "C" {
    static stderr: *mut libc::FILE;
    fn __fpurge(stream: *mut libc::FILE);
    fn flockfile(stream: *mut libc::FILE);
    fn funlockfile(stream: *mut libc::FILE);
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Where liblxc is to log.
#[derive(Debug)]
pub enum Target {
    /// A file in memory that ends with this process (and the monitor that it starts).
    Memory,
    /// A file that somebody else reads too: a parent that may have to say why a worker was killed.
    Fd(OwnedFd),
    /// A file by its path, made if needed and appended to.
    File(PathBuf),
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// liblxc takes a log once a process.
    #[error("the log of liblxc is already set up in this process")]
    Twice,
    /// The file could not be opened.
    #[error("cannot open the log file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is not there, or lacks what each release has.
    #[error("liblxc cannot be loaded")]
    NotLoaded(#[source] &'static lxc_sys::LoadError),
    /// The C library would not give its standard error a buffer.
    #[error("cannot keep liblxc off standard error")]
    Stderr,
    /// liblxc would not open the file.
    #[error("liblxc refuses the log file {}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
    },
}

/// The log of this process. There is one, because liblxc keeps its own in process-wide variables.
#[derive(Debug)]
pub struct Log {
    file: File,
}

/// A place in the log, to read from later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl Log {
    /// Sets the log up, before any other use of liblxc.
    ///
    /// # Errors
    /// When it already is set up, or the file cannot be opened.
    pub fn init(worker: &Worker, target: Target) -> Result<&'static Self, Error> {
        // Errors are what we report; warnings cost nothing and help whoever reads the file.
        Self::init_at(worker, target, Level::Warn)
    }

    /// The same for what is of `level` or graver. Errors are always written, as they are what we report.
    ///
    /// # Errors
    /// As [`Log::init`].
    pub fn init_at(_worker: &Worker, target: Target, level: Level) -> Result<&'static Self, Error> {
        if LOG.get().is_some() {
            return Err(Error::Twice);
        }
        let log = Self::open(target, level.min(Level::Error))?;
        Ok(LOG.get_or_init(|| log))
    }

    /// The log, set up in memory if nobody did yet.
    ///
    /// # Errors
    /// As [`Log::init`].
    pub fn get(worker: &Worker) -> Result<&'static Self, Error> {
        if let Some(log) = LOG.get() {
            return Ok(log);
        }
        match Self::init(worker, Target::Memory) {
            Err(Error::Twice) => LOG.get().ok_or(Error::Twice),
            other => other,
        }
    }

    fn open(target: Target, level: Level) -> Result<Self, Error> {
        let (file, path) = match target {
            Target::Memory => {
                let fd = memfd_create(c"lxc-log", MFdFlags::MFD_CLOEXEC)
                    .map_err(|errno| Error::Open { path: PathBuf::from("memfd"), source: errno.into() })?;
                let path = fd_path(&fd);
                (File::from(fd), path)
            }
            Target::Fd(fd) => {
                let path = fd_path(&fd);
                (File::from(fd), path)
            }
            Target::File(path) => {
                let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(&path);
                (opened.map_err(|source| Error::Open { path: path.clone(), source })?, path)
            }
        };
        let c_path =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Refused { path: path.clone() })?;
        let c_level = CString::new(level.as_str()).map_err(|_| Error::Refused { path: path.clone() })?;

        let lxc = lxc_sys::liblxc().map_err(Error::NotLoaded)?;
        buffer_stderr()?;
        let mut request = lxc_sys::lxc_log {
            name: ptr::null(),
            lxcpath: ptr::null(),
            file: c_path.as_ptr(),
            level: c_level.as_ptr(),
            prefix: ptr::null(),
            quiet: true,
        };
        // SAFETY: the strings live until the call returns, liblxc copies what it keeps; the one worker is in no
        // other call of it.
        let result = unsafe { (lxc.lxc_log_init)(&raw mut request) };
        hush();
        if result < 0 { Err(Error::Refused { path }) } else { Ok(Self { file }) }
    }

    /// The end of the log as it is now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.file.metadata().map_or(0, |metadata| metadata.len()))
    }

    /// What was logged since `mark`, by this process and by those that it forked: the monitor of a container that was started in
    /// the background before, too. A worker that starts one container has no such other.
    #[must_use]
    pub fn records_since(&self, mark: Mark) -> Vec<LogRecord> {
        let length = self.mark().0.saturating_sub(mark.0);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        match self.file.read_exact_at(&mut bytes, mark.0) {
            Ok(()) => parse(&bytes),
            Err(_) => Vec::new(),
        }
    }

    /// The errors among [`Log::records_since`].
    #[must_use]
    pub fn errors_since(&self, mark: Mark) -> Vec<LogRecord> {
        self.records_since(mark).into_iter().filter(|record| record.level >= Level::Error).collect()
    }

    /// The errors since `mark` as the source of an error.
    #[must_use]
    pub fn reason_since(&self, mark: Mark) -> Reason {
        Reason { records: self.errors_since(mark) }
    }
}

fn fd_path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Gives C's `stderr` a buffer which [`hush`] empties before it is ever written.
fn buffer_stderr() -> Result<(), Error> {
    // Others write to it: C, which takes the stream's lock for that.
    static BUFFER: [AtomicU8; STDERR_BUFFER] = [const { AtomicU8::new(0) }; STDERR_BUFFER];
    let buffer = BUFFER.as_ptr().cast_mut();
    // SAFETY: the C library's own variable, which nothing assigns.
    let stream = unsafe { stderr };
    // SAFETY: the buffer is static, may be written to (its bytes are atomic) and is of that length; the C library takes the
    // stream's lock itself.
    let result = unsafe { libc::setvbuf(stream, buffer.cast(), libc::_IOFBF, STDERR_BUFFER) };
    if result == 0 { Ok(()) } else { Err(Error::Stderr) }
}

/// Throws away what liblxc printed. Called after each call of liblxc.
pub(super) fn hush() {
    // SAFETY: the C library's own variable, which nothing assigns.
    let stream = unsafe { stderr };
    // SAFETY: a stream that is open for as long as the process lives. A job may have threads whose C prints there.
    unsafe { flockfile(stream) };
    // SAFETY: as above; it takes no lock itself, and this thread holds it.
    unsafe { __fpurge(stream) };
    // SAFETY: this thread holds it.
    unsafe { funlockfile(stream) };
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// How grave it is.
    pub level: Level,
    /// The part of liblxc that wrote it (`confile`, `start`, `attach`).
    pub module: String,
    /// The source file of it.
    pub file: String,
    /// The function.
    pub function: String,
    /// The line.
    pub line: u32,
    /// What it says, with the kernel's error in front where there was one.
    pub message: String,
}

/// Reads records: `PREFIX [NAME] TIME LEVEL MODULE - FILE:FUNCTION:LINE - MESSAGE`. A line that is none continues the
/// message of the one before.
#[must_use]
pub fn parse(bytes: &[u8]) -> Vec<LogRecord> {
    let mut records: Vec<LogRecord> = Vec::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        match parse_line(line) {
            Some(record) => records.push(record),
            None => {
                if let Some(last) = records.last_mut() {
                    last.message.push('\n');
                    last.message.push_str(line);
                }
            }
        }
    }
    records
}

fn parse_line(line: &str) -> Option<LogRecord> {
    let (head, rest) = line.split_once(" - ")?;
    let (place, message) = rest.split_once(" - ")?;
    let mut words = head.split_whitespace().rev();
    let module = words.next()?;
    let level = Level::from_name(words.next()?)?;
    let mut parts = place.rsplitn(3, ':');
    let number = parts.next()?.parse().ok()?;
    let function = parts.next()?;
    let file = parts.next()?;
    Some(LogRecord {
        level,
        module: module.to_owned(),
        file: file.to_owned(),
        function: function.to_owned(),
        line: number,
        message: message.to_owned(),
    })
}

/// Why liblxc failed, in its own words: a source of errors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reason {
    records: Vec<LogRecord>,
}

impl Reason {
    /// All errors that it logged, the most specific (usually the first) first.
    #[must_use]
    pub fn records(&self) -> &[LogRecord] {
        &self.records
    }

    /// Whether one of the messages contains `text`.
    pub(super) fn says(&self, text: &str) -> bool {
        self.records.iter().any(|record| record.message.contains(text))
    }
}

/// The most specific message: deeper functions fail, and log, before those that called them.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.records.first() {
            Some(record) => f.write_str(&record.message),
            None => f.write_str("liblxc gave no reason"),
        }
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
lxc web 20261122180102.123 ERROR    confile - ../src/lxc/confile.c:parse_line:2800 - Unknown configuration key \"lxc.x\"
lxc 20261122180102.124 WARN     parse - ../src/lxc/parse.c:lxc_file_for_each_line_mmap:125 - No such file - Failed - at all
lxc 20261122180102.125 ERROR    attach - ../src/lxc/attach.c:do_attach:1376 - first
second line
";

    #[test]
    fn reads_records_with_and_without_a_name() {
        let records = parse(TEXT.as_bytes());
        assert_eq!(records.len(), 3);
        assert_eq!(records[0].level, Level::Error);
        assert_eq!(records[0].module, "confile");
        assert_eq!((records[0].function.as_str(), records[0].line), ("parse_line", 2800));
        assert_eq!(records[0].message, "Unknown configuration key \"lxc.x\"");
        assert_eq!(records[1].level, Level::Warn);
        assert_eq!(records[1].message, "No such file - Failed - at all");
        assert_eq!(records[2].message, "first\nsecond line");
    }

    #[test]
    fn what_is_no_record_is_none() {
        assert_eq!(parse(b""), []);
        assert_eq!(parse(b"garbage\n\xff - \xff - x\n"), []);
        assert_eq!(parse(b"lxc 1 LOUD x - f:g:1 - m\n"), []);
    }

    #[test]
    fn a_reason_says_the_first_error_or_that_there_is_none() {
        let reason = Reason { records: parse(TEXT.as_bytes()) };
        assert_eq!(reason.to_string(), "Unknown configuration key \"lxc.x\"");
        assert_eq!(Reason::default().to_string(), "liblxc gave no reason");
    }
}
