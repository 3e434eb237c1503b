// Made by regenerate.sh from the headers of liblxc 5.0.2. Do not edit.
// Long: the header's names in its order, to compare with another version's.
pub const LXC_CLONE_KEEPNAME: u32 = 1;
pub const LXC_CLONE_KEEPMACADDR: u32 = 2;
pub const LXC_CLONE_SNAPSHOT: u32 = 4;
pub const LXC_CLONE_KEEPBDEVTYPE: u32 = 8;
pub const LXC_CLONE_MAYBE_SNAPSHOT: u32 = 16;
pub const LXC_CLONE_MAXFLAGS: u32 = 32;
pub const LXC_CLONE_ALLOW_RUNNING: u32 = 64;
pub const LXC_CREATE_QUIET: u32 = 1;
pub const LXC_CREATE_MAXFLAGS: u32 = 2;
pub const LXC_MOUNT_API_V1: u32 = 1;
pub const FEATURE_MEM_TRACK: u32 = 1;
pub const FEATURE_LAZY_PAGES: u32 = 2;
pub const LXC_DEVEL: u32 = 0;
pub const LXC_VERSION_MAJOR: u32 = 5;
pub const LXC_VERSION_MINOR: u32 = 0;
pub const LXC_VERSION_MICRO: u32 = 2;
pub const LXC_VERSION_ABI: &[u8; 6] = b"1.7.0\0";
pub const LXC_VERSION: &[u8; 6] = b"5.0.2\0";
pub type __uid_t = ::core::ffi::c_uint;
pub type __gid_t = ::core::ffi::c_uint;
pub type __pid_t = ::core::ffi::c_int;
pub type gid_t = __gid_t;
pub type uid_t = __uid_t;
pub type pid_t = __pid_t;
pub const LXC_ATTACH_KEEP_ENV: lxc_attach_env_policy_t = 0;
pub const LXC_ATTACH_CLEAR_ENV: lxc_attach_env_policy_t = 1;
pub type lxc_attach_env_policy_t = ::core::ffi::c_uint;
pub type lxc_attach_exec_t =
    ::core::option::Option<unsafe extern "C" fn(payload: *mut ::core::ffi::c_void) -> ::core::ffi::c_int>;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct lxc_groups_t {
    pub size: usize,
    pub list: *mut gid_t,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of lxc_groups_t"][::core::mem::size_of::<lxc_groups_t>() - 16usize];
    ["Alignment of lxc_groups_t"][::core::mem::align_of::<lxc_groups_t>() - 8usize];
    ["Offset of field: lxc_groups_t::size"][::core::mem::offset_of!(lxc_groups_t, size) - 0usize];
    ["Offset of field: lxc_groups_t::list"][::core::mem::offset_of!(lxc_groups_t, list) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct lxc_attach_options_t {
    pub attach_flags: ::core::ffi::c_int,
    pub namespaces: ::core::ffi::c_int,
    pub personality: ::core::ffi::c_long,
    pub initial_cwd: *mut ::core::ffi::c_char,
    pub uid: uid_t,
    pub gid: gid_t,
    pub env_policy: lxc_attach_env_policy_t,
    pub extra_env_vars: *mut *mut ::core::ffi::c_char,
    pub extra_keep_env: *mut *mut ::core::ffi::c_char,
    pub stdin_fd: ::core::ffi::c_int,
    pub stdout_fd: ::core::ffi::c_int,
    pub stderr_fd: ::core::ffi::c_int,
    pub log_fd: ::core::ffi::c_int,
    pub lsm_label: *mut ::core::ffi::c_char,
    pub groups: lxc_groups_t,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of lxc_attach_options_t"][::core::mem::size_of::<lxc_attach_options_t>() - 96usize];
    ["Alignment of lxc_attach_options_t"][::core::mem::align_of::<lxc_attach_options_t>() - 8usize];
    ["Offset of field: lxc_attach_options_t::attach_flags"]
        [::core::mem::offset_of!(lxc_attach_options_t, attach_flags) - 0usize];
    ["Offset of field: lxc_attach_options_t::namespaces"]
        [::core::mem::offset_of!(lxc_attach_options_t, namespaces) - 4usize];
    ["Offset of field: lxc_attach_options_t::personality"]
        [::core::mem::offset_of!(lxc_attach_options_t, personality) - 8usize];
    ["Offset of field: lxc_attach_options_t::initial_cwd"]
        [::core::mem::offset_of!(lxc_attach_options_t, initial_cwd) - 16usize];
    ["Offset of field: lxc_attach_options_t::uid"]
        [::core::mem::offset_of!(lxc_attach_options_t, uid) - 24usize];
    ["Offset of field: lxc_attach_options_t::gid"]
        [::core::mem::offset_of!(lxc_attach_options_t, gid) - 28usize];
    ["Offset of field: lxc_attach_options_t::env_policy"]
        [::core::mem::offset_of!(lxc_attach_options_t, env_policy) - 32usize];
    ["Offset of field: lxc_attach_options_t::extra_env_vars"]
        [::core::mem::offset_of!(lxc_attach_options_t, extra_env_vars) - 40usize];
    ["Offset of field: lxc_attach_options_t::extra_keep_env"]
        [::core::mem::offset_of!(lxc_attach_options_t, extra_keep_env) - 48usize];
    ["Offset of field: lxc_attach_options_t::stdin_fd"]
        [::core::mem::offset_of!(lxc_attach_options_t, stdin_fd) - 56usize];
    ["Offset of field: lxc_attach_options_t::stdout_fd"]
        [::core::mem::offset_of!(lxc_attach_options_t, stdout_fd) - 60usize];
    ["Offset of field: lxc_attach_options_t::stderr_fd"]
        [::core::mem::offset_of!(lxc_attach_options_t, stderr_fd) - 64usize];
    ["Offset of field: lxc_attach_options_t::log_fd"]
        [::core::mem::offset_of!(lxc_attach_options_t, log_fd) - 68usize];
    ["Offset of field: lxc_attach_options_t::lsm_label"]
        [::core::mem::offset_of!(lxc_attach_options_t, lsm_label) - 72usize];
    ["Offset of field: lxc_attach_options_t::groups"]
        [::core::mem::offset_of!(lxc_attach_options_t, groups) - 80usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct lxc_attach_command_t {
    pub program: *mut ::core::ffi::c_char,
    pub argv: *mut *mut ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of lxc_attach_command_t"][::core::mem::size_of::<lxc_attach_command_t>() - 16usize];
    ["Alignment of lxc_attach_command_t"][::core::mem::align_of::<lxc_attach_command_t>() - 8usize];
    ["Offset of field: lxc_attach_command_t::program"]
        [::core::mem::offset_of!(lxc_attach_command_t, program) - 0usize];
    ["Offset of field: lxc_attach_command_t::argv"]
        [::core::mem::offset_of!(lxc_attach_command_t, argv) - 8usize];
};
#[repr(C)]
#[derive(Debug)]
pub struct lxc_lock {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct lxc_mount {
    pub version: ::core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of lxc_mount"][::core::mem::size_of::<lxc_mount>() - 4usize];
    ["Alignment of lxc_mount"][::core::mem::align_of::<lxc_mount>() - 4usize];
    ["Offset of field: lxc_mount::version"][::core::mem::offset_of!(lxc_mount, version) - 0usize];
};
#[repr(C)]
pub struct lxc_container {
    pub name: *mut ::core::ffi::c_char,
    pub configfile: *mut ::core::ffi::c_char,
    pub pidfile: *mut ::core::ffi::c_char,
    pub slock: *mut lxc_lock,
    pub privlock: *mut lxc_lock,
    pub numthreads: ::core::ffi::c_int,
    pub lxc_conf: *mut lxc_conf,
    pub error_string: *mut ::core::ffi::c_char,
    pub error_num: ::core::ffi::c_int,
    pub daemonize: bool,
    pub config_path: *mut ::core::ffi::c_char,
    pub is_defined: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub state:
        ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> *const ::core::ffi::c_char>,
    pub is_running: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub freeze: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub unfreeze: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub init_pid: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> pid_t>,
    pub load_config: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, alt_file: *const ::core::ffi::c_char) -> bool,
    >,
    pub start: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            useinit: ::core::ffi::c_int,
            argv: *const *mut ::core::ffi::c_char,
        ) -> bool,
    >,
    pub startl: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, useinit: ::core::ffi::c_int, ...) -> bool,
    >,
    pub stop: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub want_daemonize:
        ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container, state: bool) -> bool>,
    pub want_close_all_fds:
        ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container, state: bool) -> bool>,
    pub config_file_name:
        ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> *mut ::core::ffi::c_char>,
    pub wait: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            state: *const ::core::ffi::c_char,
            timeout: ::core::ffi::c_int,
        ) -> bool,
    >,
    pub set_config_item: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            key: *const ::core::ffi::c_char,
            value: *const ::core::ffi::c_char,
        ) -> bool,
    >,
    pub destroy: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub save_config: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, alt_file: *const ::core::ffi::c_char) -> bool,
    >,
    pub create: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            t: *const ::core::ffi::c_char,
            bdevtype: *const ::core::ffi::c_char,
            specs: *mut bdev_specs,
            flags: ::core::ffi::c_int,
            argv: *const *mut ::core::ffi::c_char,
        ) -> bool,
    >,
    pub createl: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            t: *const ::core::ffi::c_char,
            bdevtype: *const ::core::ffi::c_char,
            specs: *mut bdev_specs,
            flags: ::core::ffi::c_int,
            ...
        ) -> bool,
    >,
    pub rename: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, newname: *const ::core::ffi::c_char) -> bool,
    >,
    pub reboot: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub shutdown: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, timeout: ::core::ffi::c_int) -> bool,
    >,
    pub clear_config: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container)>,
    pub clear_config_item: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, key: *const ::core::ffi::c_char) -> bool,
    >,
    pub get_config_item: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            key: *const ::core::ffi::c_char,
            retv: *mut ::core::ffi::c_char,
            inlen: ::core::ffi::c_int,
        ) -> ::core::ffi::c_int,
    >,
    pub get_running_config_item: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            key: *const ::core::ffi::c_char,
        ) -> *mut ::core::ffi::c_char,
    >,
    pub get_keys: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            key: *const ::core::ffi::c_char,
            retv: *mut ::core::ffi::c_char,
            inlen: ::core::ffi::c_int,
        ) -> ::core::ffi::c_int,
    >,
    pub get_interfaces:
        ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> *mut *mut ::core::ffi::c_char>,
    pub get_ips: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            interface: *const ::core::ffi::c_char,
            family: *const ::core::ffi::c_char,
            scope: ::core::ffi::c_int,
        ) -> *mut *mut ::core::ffi::c_char,
    >,
    pub get_cgroup_item: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            subsys: *const ::core::ffi::c_char,
            retv: *mut ::core::ffi::c_char,
            inlen: ::core::ffi::c_int,
        ) -> ::core::ffi::c_int,
    >,
    pub set_cgroup_item: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            subsys: *const ::core::ffi::c_char,
            value: *const ::core::ffi::c_char,
        ) -> bool,
    >,
    pub get_config_path:
        ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> *const ::core::ffi::c_char>,
    pub set_config_path: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, path: *const ::core::ffi::c_char) -> bool,
    >,
    pub clone: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            newname: *const ::core::ffi::c_char,
            lxcpath: *const ::core::ffi::c_char,
            flags: ::core::ffi::c_int,
            bdevtype: *const ::core::ffi::c_char,
            bdevdata: *const ::core::ffi::c_char,
            newsize: u64,
            hookargs: *mut *mut ::core::ffi::c_char,
        ) -> *mut lxc_container,
    >,
    pub console_getfd: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            ttynum: *mut ::core::ffi::c_int,
            ptxfd: *mut ::core::ffi::c_int,
        ) -> ::core::ffi::c_int,
    >,
    pub console: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            ttynum: ::core::ffi::c_int,
            stdinfd: ::core::ffi::c_int,
            stdoutfd: ::core::ffi::c_int,
            stderrfd: ::core::ffi::c_int,
            escape: ::core::ffi::c_int,
        ) -> ::core::ffi::c_int,
    >,
    pub attach: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            exec_function: lxc_attach_exec_t,
            exec_payload: *mut ::core::ffi::c_void,
            options: *mut lxc_attach_options_t,
            attached_process: *mut pid_t,
        ) -> ::core::ffi::c_int,
    >,
    pub attach_run_wait: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            options: *mut lxc_attach_options_t,
            program: *const ::core::ffi::c_char,
            argv: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int,
    >,
    pub attach_run_waitl: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            options: *mut lxc_attach_options_t,
            program: *const ::core::ffi::c_char,
            arg: *const ::core::ffi::c_char,
            ...
        ) -> ::core::ffi::c_int,
    >,
    pub snapshot: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            commentfile: *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int,
    >,
    pub snapshot_list: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, snapshots: *mut *mut lxc_snapshot) -> ::core::ffi::c_int,
    >,
    pub snapshot_restore: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            snapname: *const ::core::ffi::c_char,
            newname: *const ::core::ffi::c_char,
        ) -> bool,
    >,
    pub snapshot_destroy: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, snapname: *const ::core::ffi::c_char) -> bool,
    >,
    pub may_control: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub add_device_node: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            src_path: *const ::core::ffi::c_char,
            dest_path: *const ::core::ffi::c_char,
        ) -> bool,
    >,
    pub remove_device_node: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            src_path: *const ::core::ffi::c_char,
            dest_path: *const ::core::ffi::c_char,
        ) -> bool,
    >,
    pub attach_interface: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            dev: *const ::core::ffi::c_char,
            dst_dev: *const ::core::ffi::c_char,
        ) -> bool,
    >,
    pub detach_interface: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            dev: *const ::core::ffi::c_char,
            dst_dev: *const ::core::ffi::c_char,
        ) -> bool,
    >,
    pub checkpoint: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            directory: *mut ::core::ffi::c_char,
            stop: bool,
            verbose: bool,
        ) -> bool,
    >,
    pub restore: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            directory: *mut ::core::ffi::c_char,
            verbose: bool,
        ) -> bool,
    >,
    pub destroy_with_snapshots: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub snapshot_destroy_all: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> bool>,
    pub migrate: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            cmd: ::core::ffi::c_uint,
            opts: *mut migrate_opts,
            size: ::core::ffi::c_uint,
        ) -> ::core::ffi::c_int,
    >,
    pub console_log: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, log: *mut lxc_console_log) -> ::core::ffi::c_int,
    >,
    pub reboot2: ::core::option::Option<
        unsafe extern "C" fn(c: *mut lxc_container, timeout: ::core::ffi::c_int) -> bool,
    >,
    pub mount: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            source: *const ::core::ffi::c_char,
            target: *const ::core::ffi::c_char,
            filesystemtype: *const ::core::ffi::c_char,
            mountflags: ::core::ffi::c_ulong,
            data: *const ::core::ffi::c_void,
            mnt: *mut lxc_mount,
        ) -> ::core::ffi::c_int,
    >,
    pub umount: ::core::option::Option<
        unsafe extern "C" fn(
            c: *mut lxc_container,
            target: *const ::core::ffi::c_char,
            mountflags: ::core::ffi::c_ulong,
            mnt: *mut lxc_mount,
        ) -> ::core::ffi::c_int,
    >,
    pub seccomp_notify_fd:
        ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> ::core::ffi::c_int>,
    pub seccomp_notify_fd_active:
        ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> ::core::ffi::c_int>,
    pub init_pidfd: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> ::core::ffi::c_int>,
    pub devpts_fd: ::core::option::Option<unsafe extern "C" fn(c: *mut lxc_container) -> ::core::ffi::c_int>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of lxc_container"][::core::mem::size_of::<lxc_container>() - 568usize];
    ["Alignment of lxc_container"][::core::mem::align_of::<lxc_container>() - 8usize];
    ["Offset of field: lxc_container::name"][::core::mem::offset_of!(lxc_container, name) - 0usize];
    ["Offset of field: lxc_container::configfile"]
        [::core::mem::offset_of!(lxc_container, configfile) - 8usize];
    ["Offset of field: lxc_container::pidfile"][::core::mem::offset_of!(lxc_container, pidfile) - 16usize];
    ["Offset of field: lxc_container::slock"][::core::mem::offset_of!(lxc_container, slock) - 24usize];
    ["Offset of field: lxc_container::privlock"][::core::mem::offset_of!(lxc_container, privlock) - 32usize];
    ["Offset of field: lxc_container::numthreads"]
        [::core::mem::offset_of!(lxc_container, numthreads) - 40usize];
    ["Offset of field: lxc_container::lxc_conf"][::core::mem::offset_of!(lxc_container, lxc_conf) - 48usize];
    ["Offset of field: lxc_container::error_string"]
        [::core::mem::offset_of!(lxc_container, error_string) - 56usize];
    ["Offset of field: lxc_container::error_num"]
        [::core::mem::offset_of!(lxc_container, error_num) - 64usize];
    ["Offset of field: lxc_container::daemonize"]
        [::core::mem::offset_of!(lxc_container, daemonize) - 68usize];
    ["Offset of field: lxc_container::config_path"]
        [::core::mem::offset_of!(lxc_container, config_path) - 72usize];
    ["Offset of field: lxc_container::is_defined"]
        [::core::mem::offset_of!(lxc_container, is_defined) - 80usize];
    ["Offset of field: lxc_container::state"][::core::mem::offset_of!(lxc_container, state) - 88usize];
    ["Offset of field: lxc_container::is_running"]
        [::core::mem::offset_of!(lxc_container, is_running) - 96usize];
    ["Offset of field: lxc_container::freeze"][::core::mem::offset_of!(lxc_container, freeze) - 104usize];
    ["Offset of field: lxc_container::unfreeze"][::core::mem::offset_of!(lxc_container, unfreeze) - 112usize];
    ["Offset of field: lxc_container::init_pid"][::core::mem::offset_of!(lxc_container, init_pid) - 120usize];
    ["Offset of field: lxc_container::load_config"]
        [::core::mem::offset_of!(lxc_container, load_config) - 128usize];
    ["Offset of field: lxc_container::start"][::core::mem::offset_of!(lxc_container, start) - 136usize];
    ["Offset of field: lxc_container::startl"][::core::mem::offset_of!(lxc_container, startl) - 144usize];
    ["Offset of field: lxc_container::stop"][::core::mem::offset_of!(lxc_container, stop) - 152usize];
    ["Offset of field: lxc_container::want_daemonize"]
        [::core::mem::offset_of!(lxc_container, want_daemonize) - 160usize];
    ["Offset of field: lxc_container::want_close_all_fds"]
        [::core::mem::offset_of!(lxc_container, want_close_all_fds) - 168usize];
    ["Offset of field: lxc_container::config_file_name"]
        [::core::mem::offset_of!(lxc_container, config_file_name) - 176usize];
    ["Offset of field: lxc_container::wait"][::core::mem::offset_of!(lxc_container, wait) - 184usize];
    ["Offset of field: lxc_container::set_config_item"]
        [::core::mem::offset_of!(lxc_container, set_config_item) - 192usize];
    ["Offset of field: lxc_container::destroy"][::core::mem::offset_of!(lxc_container, destroy) - 200usize];
    ["Offset of field: lxc_container::save_config"]
        [::core::mem::offset_of!(lxc_container, save_config) - 208usize];
    ["Offset of field: lxc_container::create"][::core::mem::offset_of!(lxc_container, create) - 216usize];
    ["Offset of field: lxc_container::createl"][::core::mem::offset_of!(lxc_container, createl) - 224usize];
    ["Offset of field: lxc_container::rename"][::core::mem::offset_of!(lxc_container, rename) - 232usize];
    ["Offset of field: lxc_container::reboot"][::core::mem::offset_of!(lxc_container, reboot) - 240usize];
    ["Offset of field: lxc_container::shutdown"][::core::mem::offset_of!(lxc_container, shutdown) - 248usize];
    ["Offset of field: lxc_container::clear_config"]
        [::core::mem::offset_of!(lxc_container, clear_config) - 256usize];
    ["Offset of field: lxc_container::clear_config_item"]
        [::core::mem::offset_of!(lxc_container, clear_config_item) - 264usize];
    ["Offset of field: lxc_container::get_config_item"]
        [::core::mem::offset_of!(lxc_container, get_config_item) - 272usize];
    ["Offset of field: lxc_container::get_running_config_item"]
        [::core::mem::offset_of!(lxc_container, get_running_config_item) - 280usize];
    ["Offset of field: lxc_container::get_keys"][::core::mem::offset_of!(lxc_container, get_keys) - 288usize];
    ["Offset of field: lxc_container::get_interfaces"]
        [::core::mem::offset_of!(lxc_container, get_interfaces) - 296usize];
    ["Offset of field: lxc_container::get_ips"][::core::mem::offset_of!(lxc_container, get_ips) - 304usize];
    ["Offset of field: lxc_container::get_cgroup_item"]
        [::core::mem::offset_of!(lxc_container, get_cgroup_item) - 312usize];
    ["Offset of field: lxc_container::set_cgroup_item"]
        [::core::mem::offset_of!(lxc_container, set_cgroup_item) - 320usize];
    ["Offset of field: lxc_container::get_config_path"]
        [::core::mem::offset_of!(lxc_container, get_config_path) - 328usize];
    ["Offset of field: lxc_container::set_config_path"]
        [::core::mem::offset_of!(lxc_container, set_config_path) - 336usize];
    ["Offset of field: lxc_container::clone"][::core::mem::offset_of!(lxc_container, clone) - 344usize];
    ["Offset of field: lxc_container::console_getfd"]
        [::core::mem::offset_of!(lxc_container, console_getfd) - 352usize];
    ["Offset of field: lxc_container::console"][::core::mem::offset_of!(lxc_container, console) - 360usize];
    ["Offset of field: lxc_container::attach"][::core::mem::offset_of!(lxc_container, attach) - 368usize];
    ["Offset of field: lxc_container::attach_run_wait"]
        [::core::mem::offset_of!(lxc_container, attach_run_wait) - 376usize];
    ["Offset of field: lxc_container::attach_run_waitl"]
        [::core::mem::offset_of!(lxc_container, attach_run_waitl) - 384usize];
    ["Offset of field: lxc_container::snapshot"][::core::mem::offset_of!(lxc_container, snapshot) - 392usize];
    ["Offset of field: lxc_container::snapshot_list"]
        [::core::mem::offset_of!(lxc_container, snapshot_list) - 400usize];
    ["Offset of field: lxc_container::snapshot_restore"]
        [::core::mem::offset_of!(lxc_container, snapshot_restore) - 408usize];
    ["Offset of field: lxc_container::snapshot_destroy"]
        [::core::mem::offset_of!(lxc_container, snapshot_destroy) - 416usize];
    ["Offset of field: lxc_container::may_control"]
        [::core::mem::offset_of!(lxc_container, may_control) - 424usize];
    ["Offset of field: lxc_container::add_device_node"]
        [::core::mem::offset_of!(lxc_container, add_device_node) - 432usize];
    ["Offset of field: lxc_container::remove_device_node"]
        [::core::mem::offset_of!(lxc_container, remove_device_node) - 440usize];
    ["Offset of field: lxc_container::attach_interface"]
        [::core::mem::offset_of!(lxc_container, attach_interface) - 448usize];
    ["Offset of field: lxc_container::detach_interface"]
        [::core::mem::offset_of!(lxc_container, detach_interface) - 456usize];
    ["Offset of field: lxc_container::checkpoint"]
        [::core::mem::offset_of!(lxc_container, checkpoint) - 464usize];
    ["Offset of field: lxc_container::restore"][::core::mem::offset_of!(lxc_container, restore) - 472usize];
    ["Offset of field: lxc_container::destroy_with_snapshots"]
        [::core::mem::offset_of!(lxc_container, destroy_with_snapshots) - 480usize];
    ["Offset of field: lxc_container::snapshot_destroy_all"]
        [::core::mem::offset_of!(lxc_container, snapshot_destroy_all) - 488usize];
    ["Offset of field: lxc_container::migrate"][::core::mem::offset_of!(lxc_container, migrate) - 496usize];
    ["Offset of field: lxc_container::console_log"]
        [::core::mem::offset_of!(lxc_container, console_log) - 504usize];
    ["Offset of field: lxc_container::reboot2"][::core::mem::offset_of!(lxc_container, reboot2) - 512usize];
    ["Offset of field: lxc_container::mount"][::core::mem::offset_of!(lxc_container, mount) - 520usize];
    ["Offset of field: lxc_container::umount"][::core::mem::offset_of!(lxc_container, umount) - 528usize];
    ["Offset of field: lxc_container::seccomp_notify_fd"]
        [::core::mem::offset_of!(lxc_container, seccomp_notify_fd) - 536usize];
    ["Offset of field: lxc_container::seccomp_notify_fd_active"]
        [::core::mem::offset_of!(lxc_container, seccomp_notify_fd_active) - 544usize];
    ["Offset of field: lxc_container::init_pidfd"]
        [::core::mem::offset_of!(lxc_container, init_pidfd) - 552usize];
    ["Offset of field: lxc_container::devpts_fd"]
        [::core::mem::offset_of!(lxc_container, devpts_fd) - 560usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct lxc_snapshot {
    pub name: *mut ::core::ffi::c_char,
    pub comment_pathname: *mut ::core::ffi::c_char,
    pub timestamp: *mut ::core::ffi::c_char,
    pub lxcpath: *mut ::core::ffi::c_char,
    pub free: ::core::option::Option<unsafe extern "C" fn(s: *mut lxc_snapshot)>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of lxc_snapshot"][::core::mem::size_of::<lxc_snapshot>() - 40usize];
    ["Alignment of lxc_snapshot"][::core::mem::align_of::<lxc_snapshot>() - 8usize];
    ["Offset of field: lxc_snapshot::name"][::core::mem::offset_of!(lxc_snapshot, name) - 0usize];
    ["Offset of field: lxc_snapshot::comment_pathname"]
        [::core::mem::offset_of!(lxc_snapshot, comment_pathname) - 8usize];
    ["Offset of field: lxc_snapshot::timestamp"][::core::mem::offset_of!(lxc_snapshot, timestamp) - 16usize];
    ["Offset of field: lxc_snapshot::lxcpath"][::core::mem::offset_of!(lxc_snapshot, lxcpath) - 24usize];
    ["Offset of field: lxc_snapshot::free"][::core::mem::offset_of!(lxc_snapshot, free) - 32usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct bdev_specs {
    pub fstype: *mut ::core::ffi::c_char,
    pub fssize: u64,
    pub zfs: bdev_specs__bindgen_ty_1,
    pub lvm: bdev_specs__bindgen_ty_2,
    pub dir: *mut ::core::ffi::c_char,
    pub rbd: bdev_specs__bindgen_ty_3,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct bdev_specs__bindgen_ty_1 {
    pub zfsroot: *mut ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of bdev_specs__bindgen_ty_1"][::core::mem::size_of::<bdev_specs__bindgen_ty_1>() - 8usize];
    ["Alignment of bdev_specs__bindgen_ty_1"][::core::mem::align_of::<bdev_specs__bindgen_ty_1>() - 8usize];
    ["Offset of field: bdev_specs__bindgen_ty_1::zfsroot"]
        [::core::mem::offset_of!(bdev_specs__bindgen_ty_1, zfsroot) - 0usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct bdev_specs__bindgen_ty_2 {
    pub vg: *mut ::core::ffi::c_char,
    pub lv: *mut ::core::ffi::c_char,
    pub thinpool: *mut ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of bdev_specs__bindgen_ty_2"][::core::mem::size_of::<bdev_specs__bindgen_ty_2>() - 24usize];
    ["Alignment of bdev_specs__bindgen_ty_2"][::core::mem::align_of::<bdev_specs__bindgen_ty_2>() - 8usize];
    ["Offset of field: bdev_specs__bindgen_ty_2::vg"]
        [::core::mem::offset_of!(bdev_specs__bindgen_ty_2, vg) - 0usize];
    ["Offset of field: bdev_specs__bindgen_ty_2::lv"]
        [::core::mem::offset_of!(bdev_specs__bindgen_ty_2, lv) - 8usize];
    ["Offset of field: bdev_specs__bindgen_ty_2::thinpool"]
        [::core::mem::offset_of!(bdev_specs__bindgen_ty_2, thinpool) - 16usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct bdev_specs__bindgen_ty_3 {
    pub rbdname: *mut ::core::ffi::c_char,
    pub rbdpool: *mut ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of bdev_specs__bindgen_ty_3"][::core::mem::size_of::<bdev_specs__bindgen_ty_3>() - 16usize];
    ["Alignment of bdev_specs__bindgen_ty_3"][::core::mem::align_of::<bdev_specs__bindgen_ty_3>() - 8usize];
    ["Offset of field: bdev_specs__bindgen_ty_3::rbdname"]
        [::core::mem::offset_of!(bdev_specs__bindgen_ty_3, rbdname) - 0usize];
    ["Offset of field: bdev_specs__bindgen_ty_3::rbdpool"]
        [::core::mem::offset_of!(bdev_specs__bindgen_ty_3, rbdpool) - 8usize];
};
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of bdev_specs"][::core::mem::size_of::<bdev_specs>() - 72usize];
    ["Alignment of bdev_specs"][::core::mem::align_of::<bdev_specs>() - 8usize];
    ["Offset of field: bdev_specs::fstype"][::core::mem::offset_of!(bdev_specs, fstype) - 0usize];
    ["Offset of field: bdev_specs::fssize"][::core::mem::offset_of!(bdev_specs, fssize) - 8usize];
    ["Offset of field: bdev_specs::zfs"][::core::mem::offset_of!(bdev_specs, zfs) - 16usize];
    ["Offset of field: bdev_specs::lvm"][::core::mem::offset_of!(bdev_specs, lvm) - 24usize];
    ["Offset of field: bdev_specs::dir"][::core::mem::offset_of!(bdev_specs, dir) - 48usize];
    ["Offset of field: bdev_specs::rbd"][::core::mem::offset_of!(bdev_specs, rbd) - 56usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct migrate_opts {
    pub directory: *mut ::core::ffi::c_char,
    pub verbose: bool,
    pub stop: bool,
    pub predump_dir: *mut ::core::ffi::c_char,
    pub pageserver_address: *mut ::core::ffi::c_char,
    pub pageserver_port: *mut ::core::ffi::c_char,
    pub preserves_inodes: bool,
    pub action_script: *mut ::core::ffi::c_char,
    pub disable_skip_in_flight: bool,
    pub ghost_limit: u64,
    pub features_to_check: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of migrate_opts"][::core::mem::size_of::<migrate_opts>() - 80usize];
    ["Alignment of migrate_opts"][::core::mem::align_of::<migrate_opts>() - 8usize];
    ["Offset of field: migrate_opts::directory"][::core::mem::offset_of!(migrate_opts, directory) - 0usize];
    ["Offset of field: migrate_opts::verbose"][::core::mem::offset_of!(migrate_opts, verbose) - 8usize];
    ["Offset of field: migrate_opts::stop"][::core::mem::offset_of!(migrate_opts, stop) - 9usize];
    ["Offset of field: migrate_opts::predump_dir"]
        [::core::mem::offset_of!(migrate_opts, predump_dir) - 16usize];
    ["Offset of field: migrate_opts::pageserver_address"]
        [::core::mem::offset_of!(migrate_opts, pageserver_address) - 24usize];
    ["Offset of field: migrate_opts::pageserver_port"]
        [::core::mem::offset_of!(migrate_opts, pageserver_port) - 32usize];
    ["Offset of field: migrate_opts::preserves_inodes"]
        [::core::mem::offset_of!(migrate_opts, preserves_inodes) - 40usize];
    ["Offset of field: migrate_opts::action_script"]
        [::core::mem::offset_of!(migrate_opts, action_script) - 48usize];
    ["Offset of field: migrate_opts::disable_skip_in_flight"]
        [::core::mem::offset_of!(migrate_opts, disable_skip_in_flight) - 56usize];
    ["Offset of field: migrate_opts::ghost_limit"]
        [::core::mem::offset_of!(migrate_opts, ghost_limit) - 64usize];
    ["Offset of field: migrate_opts::features_to_check"]
        [::core::mem::offset_of!(migrate_opts, features_to_check) - 72usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct lxc_console_log {
    pub clear: bool,
    pub read: bool,
    pub read_max: *mut u64,
    pub data: *mut ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of lxc_console_log"][::core::mem::size_of::<lxc_console_log>() - 24usize];
    ["Alignment of lxc_console_log"][::core::mem::align_of::<lxc_console_log>() - 8usize];
    ["Offset of field: lxc_console_log::clear"][::core::mem::offset_of!(lxc_console_log, clear) - 0usize];
    ["Offset of field: lxc_console_log::read"][::core::mem::offset_of!(lxc_console_log, read) - 1usize];
    ["Offset of field: lxc_console_log::read_max"]
        [::core::mem::offset_of!(lxc_console_log, read_max) - 8usize];
    ["Offset of field: lxc_console_log::data"][::core::mem::offset_of!(lxc_console_log, data) - 16usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct lxc_log {
    pub name: *const ::core::ffi::c_char,
    pub lxcpath: *const ::core::ffi::c_char,
    pub file: *const ::core::ffi::c_char,
    pub level: *const ::core::ffi::c_char,
    pub prefix: *const ::core::ffi::c_char,
    pub quiet: bool,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of lxc_log"][::core::mem::size_of::<lxc_log>() - 48usize];
    ["Alignment of lxc_log"][::core::mem::align_of::<lxc_log>() - 8usize];
    ["Offset of field: lxc_log::name"][::core::mem::offset_of!(lxc_log, name) - 0usize];
    ["Offset of field: lxc_log::lxcpath"][::core::mem::offset_of!(lxc_log, lxcpath) - 8usize];
    ["Offset of field: lxc_log::file"][::core::mem::offset_of!(lxc_log, file) - 16usize];
    ["Offset of field: lxc_log::level"][::core::mem::offset_of!(lxc_log, level) - 24usize];
    ["Offset of field: lxc_log::prefix"][::core::mem::offset_of!(lxc_log, prefix) - 32usize];
    ["Offset of field: lxc_log::quiet"][::core::mem::offset_of!(lxc_log, quiet) - 40usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct lxc_conf {
    pub _address: u8,
}
unsafe extern "C" {
    pub fn lxc_attach_run_command(payload: *mut ::core::ffi::c_void) -> ::core::ffi::c_int;
    pub fn lxc_attach_run_shell(payload: *mut ::core::ffi::c_void) -> ::core::ffi::c_int;
    pub fn lxc_container_new(
        name: *const ::core::ffi::c_char,
        configpath: *const ::core::ffi::c_char,
    ) -> *mut lxc_container;
    pub fn lxc_container_get(c: *mut lxc_container) -> ::core::ffi::c_int;
    pub fn lxc_container_put(c: *mut lxc_container) -> ::core::ffi::c_int;
    pub fn lxc_get_wait_states(states: *mut *const ::core::ffi::c_char) -> ::core::ffi::c_int;
    pub fn lxc_get_global_config_item(key: *const ::core::ffi::c_char) -> *const ::core::ffi::c_char;
    pub fn lxc_get_version() -> *const ::core::ffi::c_char;
    pub fn list_defined_containers(
        lxcpath: *const ::core::ffi::c_char,
        names: *mut *mut *mut ::core::ffi::c_char,
        cret: *mut *mut *mut lxc_container,
    ) -> ::core::ffi::c_int;
    pub fn list_active_containers(
        lxcpath: *const ::core::ffi::c_char,
        names: *mut *mut *mut ::core::ffi::c_char,
        cret: *mut *mut *mut lxc_container,
    ) -> ::core::ffi::c_int;
    pub fn list_all_containers(
        lxcpath: *const ::core::ffi::c_char,
        names: *mut *mut *mut ::core::ffi::c_char,
        cret: *mut *mut *mut lxc_container,
    ) -> ::core::ffi::c_int;
    pub fn lxc_log_init(log: *mut lxc_log) -> ::core::ffi::c_int;
    pub fn lxc_log_close();
    pub fn lxc_config_item_is_supported(key: *const ::core::ffi::c_char) -> bool;
    pub fn lxc_has_api_extension(extension: *const ::core::ffi::c_char) -> bool;
}
