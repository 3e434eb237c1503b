//! A handle of one container: liblxc's `struct lxc_container`, owned, and the calls that neither start nor enter it.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use lxc_sys::Liblxc;

use super::address::Address;
use super::error::{Error, LxcAction};
use super::log::{self, Log, Mark};
use super::state::LxcState;
use super::token::Worker;
use super::version::Version;

/// Asks of the kernel's `ENOSYS` and `EINVAL`, as `get_config_item` returns them.
const NO_SUCH_KEY: [i32; 2] = [-libc::EINVAL, -libc::ENOSYS];

/// Calls a member of the container.
///
/// The one place where members are reached: member by member, never the whole struct (its size is the library's, not
/// ours), and what liblxc prints is thrown away afterwards.
macro_rules! call {
    ($handle:expr, $member:ident $(, $argument:expr)*) => {{
        const { $crate::lxc::handle::require_old(std::mem::offset_of!(lxc_sys::lxc_container, $member)) };
        let container = $handle.as_ptr();
        // SAFETY: the pointer is live until `Handle` is dropped. `Handle::open` has refused libraries older than 4.0.7, and
        // this member is one that those have, at this offset (the line above): it lies within what the library allocated.
        let member = unsafe { (*container).$member };
        let member = member.ok_or($crate::lxc::error::Error::Missing { member: stringify!($member) })?;
        // SAFETY: liblxc's own function on liblxc's own, live container; no other thread is in liblxc, since a handle stays with
        // the one `Worker` of this process and that in its thread; pointers among the arguments are valid for the call, each
        // caller makes them so.
        let result = unsafe { member(container $(, $argument)*) };
        $crate::lxc::log::hush();
        result
    }};
}
pub(super) use call;

/// That a member of the container is at this offset in all libraries that [`Handle::open`] takes. Looked at when this is compiled.
pub(super) const fn require_old(offset: usize) {
    assert!(offset <= lxc_sys::LAST_OF_4_0_7, "this member is not there, or elsewhere, in liblxc 4.0.7");
}

/// One container as liblxc sees it, in a [`Worker`] and its thread.
///
/// ```compile_fail,E0277
/// fn job(worker: &nixcloud_container::lxc::Worker) {
///     let handle = nixcloud_container::lxc::Handle::open(worker, "/var/lib/lxc".as_ref(), "web").unwrap();
///     // liblxc has one log, and C one standard error, for all threads.
///     std::thread::scope(|scope| scope.spawn(move || drop(handle)).join()).unwrap();
/// }
/// ```
///
/// A handle keeps the configuration that it read when it was opened. [`Handle::attach`] changes that copy, so do not
/// read the configuration from a handle that has attached.
pub struct Handle<'w> {
    worker: &'w Worker,
    lxc: &'static Liblxc,
    container: NonNull<lxc_sys::lxc_container>,
    address: Address,
    log: &'static Log,
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        // SAFETY: the one reference that `lxc_container_new` gave us, given back once.
        unsafe { (self.lxc.lxc_container_put)(self.container.as_ptr()) };
        log::hush();
    }
}

impl fmt::Debug for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.address).finish()
    }
}

impl<'w> Handle<'w> {
    /// A handle of container `name` under `lxc_path`, with its configuration read if it has one.
    ///
    /// Sets up [`Log`] in memory if nobody did. liblxc makes directories under `/run/lxc/lock` and leaves them.
    ///
    /// # Errors
    /// When liblxc is too old, path or name would name another container, a `partial` mark says that its creation did
    /// not end (liblxc would destroy it), or the configuration is bad: then the source is liblxc's text.
    pub fn open(worker: &'w Worker, lxc_path: &Path, name: &str) -> Result<Self, Error> {
        Self::open_address(worker, Address::new(lxc_path, name)?)
    }

    /// As [`Handle::open`], of an address.
    ///
    /// # Errors
    /// As [`Handle::open`].
    pub fn open_address(worker: &'w Worker, address: Address) -> Result<Self, Error> {
        let lxc = Version::library()?;
        let log = Log::get(worker)?;
        refuse_half_made(&address)?;
        let (path, name) = (address.c_path()?, address.c_name()?);
        let mark = log.mark();
        // SAFETY: two NUL-terminated strings that outlive the call; liblxc copies them.
        let container = unsafe { (lxc.lxc_container_new)(name.as_ptr(), path.as_ptr()) };
        log::hush();
        match NonNull::new(container) {
            Some(container) => Ok(Self { worker, lxc, container, address, log }),
            None => Err(Error::Failed {
                action: LxcAction::Open,
                name: address.name().to_owned(),
                reason: log.reason_since(mark),
            }),
        }
    }

    /// What the handle is of.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Reads the configuration file `path` *into* the present configuration; [`Handle::clear_config`] comes first where
    /// that is not wanted. What follows a bad line is not read.
    ///
    /// # Errors
    /// When the file cannot be read or liblxc refuses a line of it.
    pub fn load_config(&mut self, path: &Path) -> Result<(), Error> {
        let file = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Nul { what: "the path" })?;
        let mark = self.log.mark();
        let done = call!(self, load_config, file.as_ptr());
        self.expect(done, mark, || LxcAction::LoadConfig(path.to_owned()))
    }

    /// Forgets the configuration.
    ///
    /// # Errors
    /// When this liblxc cannot.
    pub fn clear_config(&mut self) -> Result<(), Error> {
        call!(self, clear_config);
        Ok(())
    }

    /// The value of a configuration key in this handle; `None` where it is not set. Lists are of a line each.
    ///
    /// # Errors
    /// When liblxc does not know the key (or, as `lxc.include`, does not give it back), or the value is not UTF-8.
    pub fn config_item(&self, key: &str) -> Result<Option<String>, Error> {
        let c_key = CString::new(key).map_err(|_| Error::Nul { what: "the key" })?;
        let mark = self.log.mark();
        loop {
            let length = call!(self, get_config_item, c_key.as_ptr(), ptr::null_mut(), 0);
            if length < 0 {
                // -1 on a handle without any configuration: nothing is set.
                return if NO_SUCH_KEY.contains(&length) || !self.supports(&c_key) {
                    Err(self.failed(LxcAction::ReadConfig(key.to_owned()), mark))
                } else {
                    Ok(None)
                };
            }
            if length == 0 {
                return Ok(None);
            }
            // liblxc clears as many bytes as it is told that there are, and needs one more than it says, for the NUL.
            let mut buffer = vec![0_u8; usize::try_from(length).unwrap_or(0) + 1];
            // From the buffer itself: what liblxc may write to cannot be more than there is.
            let room = i32::try_from(buffer.len()).unwrap_or(i32::MAX);
            let got = call!(self, get_config_item, c_key.as_ptr(), buffer.as_mut_ptr().cast(), room);
            if got < 0 {
                return Err(self.failed(LxcAction::ReadConfig(key.to_owned()), mark));
            }
            if got <= length {
                buffer.truncate(usize::try_from(got).unwrap_or(0));
                let text = String::from_utf8(buffer).map_err(|_| Error::NotUtf8 { key: key.to_owned() })?;
                return Ok(Some(text.trim_end_matches('\n').to_owned()));
            }
        }
    }

    /// Whether the library has this very key.
    pub(super) fn supports(&self, key: &CStr) -> bool {
        // SAFETY: a NUL-terminated string that outlives the call.
        unsafe { (self.lxc.lxc_config_item_is_supported)(key.as_ptr()) }
    }

    /// The value that the *running* container has for a key (`lxc.net.0.veth.pair` is known there alone); `None` where
    /// it has none. Asks the monitor, with no deadline.
    ///
    /// # Errors
    /// When the container does not run, or the monitor does not know the key.
    pub fn running_config_item(&self, key: &str) -> Result<Option<String>, Error> {
        let c_key = CString::new(key).map_err(|_| Error::Nul { what: "the key" })?;
        let mark = self.log.mark();
        let value = call!(self, get_running_config_item, c_key.as_ptr());
        let Some(value) = NonNull::new(value) else {
            if self.state()? == LxcState::Stopped {
                return Err(Error::NotRunning { name: self.name() });
            }
            return if self.log.errors_since(mark).is_empty() && self.supports(&c_key) {
                Ok(None)
            } else {
                Err(self.failed(LxcAction::ReadConfig(key.to_owned()), mark))
            };
        };
        // SAFETY: not NULL, NUL-terminated, ours until freed below.
        let text = unsafe { CStr::from_ptr(value.as_ptr()) }.to_bytes().to_vec();
        // SAFETY: liblxc allocated it with malloc for the caller, it is freed once and not used again.
        unsafe { libc::free(value.as_ptr().cast()) };
        let text = String::from_utf8(text).map_err(|_| Error::NotUtf8 { key: key.to_owned() })?;
        let text = text.trim_end_matches('\n');
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Sets (or, for lists, appends) a configuration key in this handle. Nothing is written to disk.
    ///
    /// # Errors
    /// When liblxc knows no such key or refuses the value.
    pub fn set_config_item(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let c_key = CString::new(key).map_err(|_| Error::Nul { what: "the key" })?;
        let c_value = CString::new(value).map_err(|_| Error::Nul { what: "the value" })?;
        let mark = self.log.mark();
        let done = call!(self, set_config_item, c_key.as_ptr(), c_value.as_ptr());
        self.expect(done, mark, || LxcAction::SetConfig(key.to_owned(), value.to_owned()))
    }

    /// The state, asked of the monitor with no deadline (before 6.0 liblxc has none): a stopped monitor hangs the
    /// call. [`super::command::Client`] has a deadline.
    ///
    /// # Errors
    /// When the monitor refuses this user (liblxc alone would say STOPPED) or the state is none that LXC has.
    pub fn state(&self) -> Result<LxcState, Error> {
        let text = call!(self, state);
        if text.is_null() {
            return Err(Error::UnknownState { name: self.name(), text: String::new() });
        }
        // SAFETY: not NULL; a static string of liblxc's, never freed.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        match LxcState::from_name(&text) {
            Some(LxcState::Stopped) if !self.may_control()? => {
                Err(Error::PermissionDenied { name: self.name() })
            }
            Some(state) => Ok(state),
            None => Err(Error::UnknownState { name: self.name(), text: text.into_owned() }),
        }
    }

    /// The pid of init as this process sees it; `None` when stopped.
    ///
    /// # Errors
    /// When the monitor refuses this user (liblxc alone would say 0).
    pub fn init_pid(&self) -> Result<Option<i32>, Error> {
        match call!(self, init_pid) {
            0 if self.state()? == LxcState::Stopped => Ok(None),
            0 => Err(Error::PermissionDenied { name: self.name() }),
            pid if pid < 0 => Ok(None),
            pid => Ok(Some(pid)),
        }
    }

    /// Whether a configuration file is there.
    ///
    /// # Errors
    /// When this liblxc cannot say.
    pub fn is_defined(&self) -> Result<bool, Error> {
        Ok(call!(self, is_defined))
    }

    /// Whether the monitor takes commands of this user. True for a stopped container.
    ///
    /// # Errors
    /// When this liblxc cannot say.
    pub fn may_control(&self) -> Result<bool, Error> {
        Ok(call!(self, may_control))
    }

    /// Holds every process of the guest; waits until they are held.
    ///
    /// # Errors
    /// When the container does not run or the kernel refuses.
    pub fn freeze(&mut self) -> Result<(), Error> {
        self.expect_running()?;
        let mark = self.log.mark();
        let done = call!(self, freeze);
        self.expect(done, mark, || LxcAction::Freeze)
    }

    /// Lets the guest go on.
    ///
    /// # Errors
    /// When the container does not run or the kernel refuses.
    pub fn unfreeze(&mut self) -> Result<(), Error> {
        self.expect_running()?;
        let mark = self.log.mark();
        let done = call!(self, unfreeze);
        self.expect(done, mark, || LxcAction::Unfreeze)
    }

    /// What a file of the container's cgroup holds, without its last line end. Which names exist (`memory.max` or
    /// `memory.limit_in_bytes`) is the host's matter.
    ///
    /// # Errors
    /// When the container does not run or its cgroup has no such file.
    pub fn cgroup_item(&self, key: &str) -> Result<String, Error> {
        let c_key = CString::new(key).map_err(|_| Error::Nul { what: "the key" })?;
        self.expect_running()?;
        let mark = self.log.mark();
        let mut buffer = vec![0_u8; 4096];
        loop {
            let room = i32::try_from(buffer.len()).unwrap_or(i32::MAX);
            let got = call!(self, get_cgroup_item, c_key.as_ptr(), buffer.as_mut_ptr().cast(), room);
            let Ok(got) = usize::try_from(got) else {
                return Err(self.failed(LxcAction::ReadCgroup(key.to_owned()), mark));
            };
            if got < buffer.len() || buffer.len() >= 1 << 20 {
                buffer.truncate(got);
                let text = String::from_utf8(buffer).map_err(|_| Error::NotUtf8 { key: key.to_owned() })?;
                return Ok(text.trim_end_matches(['\n', '\0']).to_owned());
            }
            buffer = vec![0; buffer.len() * 4];
        }
    }

    /// Writes to a file of the container's cgroup.
    ///
    /// # Errors
    /// When the container does not run, its cgroup has no such file or the kernel refuses the value.
    pub fn set_cgroup_item(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let c_key = CString::new(key).map_err(|_| Error::Nul { what: "the key" })?;
        let c_value = CString::new(value).map_err(|_| Error::Nul { what: "the value" })?;
        self.expect_running()?;
        let mark = self.log.mark();
        let done = call!(self, set_cgroup_item, c_key.as_ptr(), c_value.as_ptr());
        self.expect(done, mark, || LxcAction::SetCgroup(key.to_owned(), value.to_owned()))
    }

    /// Kills the guest and waits, with no deadline, until the monitor has ended too, its hooks included. Done if
    /// stopped.
    ///
    /// # Errors
    /// When liblxc refuses, or says that it is done and the container still runs.
    pub fn stop(&mut self) -> Result<(), Error> {
        let mark = self.log.mark();
        let done = call!(self, stop);
        self.expect(done, mark, || LxcAction::Stop)?;
        match self.state()? {
            LxcState::Stopped => Ok(()),
            found => Err(Error::WrongState { name: self.name(), wanted: LxcState::Stopped, found }),
        }
    }

    /// Asks init to end and waits until the container is stopped, the monitor's hooks included. False when it is not
    /// after `timeout`; zero does not wait. A signal in between does not cut the wait short.
    ///
    /// # Errors
    /// When init cannot be signalled.
    pub fn shutdown(&mut self, timeout: Duration) -> Result<bool, Error> {
        let mark = self.log.mark();
        // With a timeout of its own, liblxc gives up at the first signal that arrives and says `false`.
        let done = call!(self, shutdown, 0);
        if !done && self.state()? != LxcState::Stopped {
            return Err(self.failed(LxcAction::Shutdown, mark));
        }
        self.wait(LxcState::Stopped, timeout)
    }

    /// Waits until the container is in `state`; false when it is not after `timeout` (rounded up to whole seconds,
    /// which is what liblxc counts in). Zero looks once.
    ///
    /// # Errors
    /// As [`Handle::state`].
    pub fn wait(&self, state: LxcState, timeout: Duration) -> Result<bool, Error> {
        let words = CString::new(state.as_str()).map_err(|_| Error::Nul { what: "the state" })?;
        let start = Instant::now();
        loop {
            if self.state()? == state {
                return Ok(true);
            }
            let rest = timeout.saturating_sub(start.elapsed());
            if rest.is_zero() {
                return Ok(false);
            }
            // 0 would wait for ever, and so does a negative number.
            let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
            let seconds = i32::try_from(seconds).unwrap_or(i32::MAX).max(1);
            let round = Instant::now();
            if call!(self, wait, words.as_ptr(), seconds) {
                return Ok(true);
            }
            // `false` is a timeout or an error; an error at once must not become a busy loop.
            if round.elapsed() < Duration::from_millis(50) {
                std::thread::sleep(Duration::from_millis(50).min(rest));
            }
        }
    }

    pub(super) fn as_ptr(&self) -> *mut lxc_sys::lxc_container {
        self.container.as_ptr()
    }

    pub(super) fn worker(&self) -> &'w Worker {
        self.worker
    }

    pub(super) fn log(&self) -> &'static Log {
        self.log
    }

    pub(super) fn name(&self) -> String {
        self.address.name().to_owned()
    }

    pub(super) fn refuse_half_made(&self) -> Result<(), Error> {
        refuse_half_made(&self.address)
    }

    pub(super) fn expect_running(&self) -> Result<(), Error> {
        match self.state()? {
            LxcState::Stopped => Err(Error::NotRunning { name: self.name() }),
            _ => Ok(()),
        }
    }

    pub(super) fn expect(
        &self,
        done: bool,
        mark: Mark,
        action: impl FnOnce() -> LxcAction,
    ) -> Result<(), Error> {
        if done { Ok(()) } else { Err(self.failed(action(), mark)) }
    }

    pub(super) fn failed(&self, action: LxcAction, mark: Mark) -> Error {
        Error::Failed { action, name: self.name(), reason: self.log.reason_since(mark) }
    }
}

/// liblxc *destroys* a container whose directory holds an unlocked `partial` file, merely on opening it.
fn refuse_half_made(address: &Address) -> Result<(), Error> {
    let path = address.directory().join("partial");
    if path.symlink_metadata().is_ok() { Err(Error::HalfMade { path }) } else { Ok(()) }
}
