//! Devices of the host in a guest: those that a container file asks for, as it asks for them, and no others.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nixcloud_container::{CreateRequest, Error, ErrorKind, Event, GuestNote, Manager, Note, UpdateRequest};

use crate::attack::probe;
use crate::crash::{MOMENTS, kill, usual};
use crate::harness::{File, Guest, Kind, Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_a_device_that_the_host_lacks_is_refused_by_name,
        root_a_device_that_may_do_harm_needs_a_word_of_the_hosts,
        root_a_serial_line_is_found_by_its_id,
        root_a_hostile_dev_leads_to_nothing_outside,
        root_devices_last_over_reboots_from_inside,
        root_devices_of_an_update_killed_at_any_moment,
    ],
    both: [
        root_devices_are_those_that_are_asked_for,
        root_a_running_guest_gets_and_loses_devices,
        root_what_every_guest_has_is_not_shut_with_a_device,
    ],
}

fn root_what_every_guest_has_is_not_shut_with_a_device(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let keys = "devices = { \"/dev/null\" = { path = \"/dev/mine\"; }; \"/dev/fuse\" = { }; };";
    web.create_from(&web.file().keys(keys));
    web.start();
    assert!(came(&web, "echo >/dev/mine") && came(&web, "echo >/dev/null"));
    web.update(&web.file().version("2").keys("devices = [ \"/dev/fuse\" ];"));
    assert_eq!(seen(&web, "/dev/mine"), "");
    assert_eq!(web.sh("echo >/dev/null && head -c 1 /dev/null").exit.code(), 0, "null is shut");
    // One inside the other cannot be.
    let nested =
        "devices = { \"/dev/null\" = { path = \"/dev/a\"; }; \"/dev/zero\" = { path = \"/dev/a/b\"; }; };";
    let error = web.try_update(&web.file().version("3").keys(nested)).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error:?}");
}

const BOTH: &str =
    "devices = { \"/dev/net/tun\" = { }; \"/dev/fuse\" = { owner = 1; group = 7; mode = \"0640\"; }; };";

/// Whether what is tried comes through.
fn came(guest: &Guest<'_>, what: &str) -> bool {
    guest.sh(&format!("{what} >/dev/null 2>&1")).exit.success()
}

/// What the guest sees at a path: kind, numbers, owner, group and mode; empty where there is nothing.
fn seen(guest: &Guest<'_>, path: &str) -> String {
    guest.sh(&format!("stat -c '%F %t:%T %u:%g %a' {path} 2>/dev/null")).text().trim().to_owned()
}

const TUN: &str = "character special file a:c8 0:0 666";
const FUSE: &str = "character special file a:e5 1:7 640";

/// The host's own node: whatever happens in a guest, it is as it was.
fn of_host(path: &str) -> (u64, u32, u32, u32, u64) {
    let found = fs::symlink_metadata(path).unwrap();
    assert!(found.file_type().is_char_device());
    (found.rdev(), found.uid(), found.gid(), found.permissions().mode(), found.ino())
}

/// Nothing that was not asked for: neither by a node of the guest's own nor by one that it is shown.
fn nothing_else(guest: &Guest<'_>, shown: &str) {
    for (place, numbers) in [
        ("/root/mem", "c:1:1"),
        ("/root/disk", "b:7:0"),
        ("/dev/kvm2", "c:10:232"),
        ("/root/tun", "c:10:200"),
    ] {
        let said = guest.sh(&format!("/root/probe node {place} {numbers}")).errors();
        assert!(said.contains("Operation not permitted"), "{place}: {said}");
    }
    // The host's folder is on a file system where devices are devices.
    let said = guest.sh(&format!("/root/probe open {shown}/full r")).errors();
    assert_eq!(said, "", "{said}");
    for name in ["kvm", "loop-control", "kmsg"] {
        let said = guest.sh(&format!("/root/probe open {shown}/{name} r")).errors();
        assert!(said.contains("Operation not permitted"), "{name}: {said}");
    }
}

fn root_devices_are_those_that_are_asked_for(lab: &Lab, kind: Kind) {
    let (tun, fuse) = (of_host("/dev/net/tun"), of_host("/dev/fuse"));
    let web = lab.guest("web", kind);
    web.create_from(&web.file().keys(BOTH));
    web.start();
    probe(lab, &web);
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (TUN.to_owned(), FUSE.to_owned()));
    assert!(came(&web, "/root/probe tun /dev/net/tun vpn0"));
    assert_eq!(web.shell("cat /sys/class/net/vpn0/type"), "1");
    assert!(came(&web, "mkdir -p /mnt/fuse && /root/probe fuse /dev/fuse /mnt/fuse"));
    // It is the guest's: its root does with it as with anything of its own, and the host's is another one.
    assert!(came(&web, "chmod 600 /dev/net/tun && chown 5:5 /dev/fuse"));
    assert_eq!((of_host("/dev/net/tun"), of_host("/dev/fuse")), (tun, fuse));
    let status = web.container().status().must("status");
    let devices: Vec<String> = status.devices.iter().map(ToString::to_string).collect();
    assert_eq!(devices, ["/dev/fuse (c 10:229, 1:7, 0640)", "/dev/net/tun (c 10:200, 0:0, 0666)"]);
    assert_eq!(status.pending_restart, []);
    // Others have none, and a boot begins anew.
    let other = lab.guest("other", kind);
    other.boot();
    assert_eq!((seen(&other, "/dev/net/tun"), seen(&other, "/dev/fuse")), (String::new(), String::new()));
    web.terminate();
    web.start();
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (TUN.to_owned(), FUSE.to_owned()));
    web.terminate();
    // A folder of the host's with nodes in it, all of which anybody may open.
    let nodes = lab.path("/files/nodes");
    fs::create_dir_all(&nodes).unwrap();
    for (name, numbers) in
        [("full", (1, 7)), ("kvm", (10, 232)), ("loop-control", (10, 237)), ("kmsg", (1, 11))]
    {
        let place = nodes.join(name);
        nix_mknod(&place, numbers);
        fs::set_permissions(&place, fs::Permissions::from_mode(0o666)).unwrap();
    }
    let mount = format!("lxc.mount.entry = {} mnt/nodes none bind,create=dir 0 0", nodes.display());
    web.update(&web.file().version("2").keys(BOTH).extra(&mount));
    web.start();
    nothing_else(&web, "/mnt/nodes");
    assert!(came(&web, "/root/probe open /dev/net/tun rw"));
    web.terminate();
    fs::remove_dir_all(&nodes).unwrap();
}

fn nix_mknod(place: &Path, (major, minor): (u32, u32)) {
    let kind = rustix::fs::FileType::CharacterDevice;
    let number = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(rustix::fs::CWD, place, kind, rustix::fs::Mode::from_raw_mode(0o666), number)
        .unwrap();
}

fn root_a_running_guest_gets_and_loses_devices(lab: &Lab, kind: Kind) {
    let host = (of_host("/dev/net/tun"), of_host("/dev/fuse"));
    let web = lab.guest("web", kind);
    web.create_from(&web.file());
    let init = web.start();
    probe(lab, &web);
    assert_eq!(seen(&web, "/dev/net/tun"), "");
    let switched = web.update(&web.file().version("2").keys(BOTH));
    assert_eq!((web.init(), &switched.pending_restart[..]), (init, &[][..]));
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (TUN.to_owned(), FUSE.to_owned()));
    assert!(came(&web, "/root/probe tun /dev/net/tun vpn0"));
    // Another mode, and one goes: what the guest bound elsewhere is shut with it.
    assert!(came(
        &web,
        "touch /root/mine && mount -o bind /dev/fuse /root/mine && /root/probe open /root/mine rw"
    ));
    web.update(&web.file().version("3").keys("devices.\"/dev/net/tun\" = { mode = \"0600\"; };"));
    assert_eq!(
        (seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")),
        (TUN.replace("666", "600"), String::new())
    );
    assert!(!came(&web, "/root/probe open /root/mine rw"));
    assert_eq!(web.container().status().must("status").devices.len(), 1);
    // The one before has both, and the first none.
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (TUN.to_owned(), FUSE.to_owned()));
    assert!(came(&web, "/root/probe open /dev/fuse rw"));
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (String::new(), String::new()));
    assert_eq!((of_host("/dev/net/tun"), of_host("/dev/fuse")), host);
    // A generation that does not come up leaves the devices of the one before.
    web.update(&web.file().version("4").keys("devices = [ \"/dev/net/tun\" ];"));
    web.try_update(
        &web.file().version("5").keys("devices = [ \"/dev/fuse\" ];").module("standin.switchExit = 2;"),
    )
    .expect_err("its activation fails");
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (TUN.to_owned(), String::new()));
}

fn root_devices_last_over_reboots_from_inside(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("devices = [ \"/dev/fuse\" ];"));
    web.start();
    web.update(&web.file().version("2").keys("devices = [ \"/dev/net/tun\" ];"));
    web.reboots();
    web.await_version();
    probe(lab, &web);
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (TUN.to_owned(), String::new()));
    assert!(came(&web, "/root/probe open /dev/net/tun rw"));
    // By what it was booted with.
    web.update(&web.file().version("3").keys("devices = [ \"/dev/net/tun\" \"/dev/fuse\" ];"));
    assert!(came(&web, "/root/probe open /dev/fuse rw"));
    web.update(&web.file().version("4"));
    web.reboots();
    web.await_version();
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (String::new(), String::new()));
}

fn root_devices_of_an_update_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    let tun = |version: &str| web.file().version(version).keys("devices = [ \"/dev/net/tun\" ];");
    let fuse = |version: u32| {
        let file = web.file().version(&version.to_string()).keys("devices = [ \"/dev/fuse\" ];");
        lab.file(web.name().as_str(), &file)
    };
    web.create_from(&tun("1"));
    let init = web.start();
    let usual = usual(lab, "update", &web, Some(&fuse(200)));
    for at in 0..MOMENTS {
        kill(lab, "update", &web, Some(&fuse(201 + at)), at, usual);
        // Whatever the guest was left with, it has what counts.
        let switched = web.update(&tun(&format!("after-{at}")));
        assert_eq!((web.init(), switched.pending_restart), (init, vec![]), "moment {at}");
        assert_eq!(
            (seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")),
            (TUN.to_owned(), String::new()),
            "moment {at}"
        );
    }
    // A reboot from inside has no more and no less.
    web.reboots();
    web.await_version();
    assert_eq!((seen(&web, "/dev/net/tun"), seen(&web, "/dev/fuse")), (TUN.to_owned(), String::new()));
}

fn root_a_device_that_the_host_lacks_is_refused_by_name(lab: &Lab) {
    let web = lab.busybox("web");
    let asks = |required: bool| {
        web.file().keys(&format!("devices.\"/dev/no-such\" = {{ required = {required}; }};"))
    };
    let error = web.try_create(&asks(true)).expect_err("a device that is not there");
    assert_eq!(error.kind(), ErrorKind::Host);
    assert!(chain(&error).contains("`/dev/no-such`: this host does not have it"), "{}", chain(&error));
    assert!(error.hint().unwrap().to_string().contains("required = false"));
    lab.assert_nothing_left();
    web.create_from(&asks(false));
    web.start();
    assert_eq!(web.container().status().must("status").pending_restart, []);
    let error = web.try_update(&asks(true).version("2")).expect_err("a device that is not there");
    assert!(matches!(&error, Error::Device { .. }), "{error:?}");
    web.terminate();
    for (path, why) in [
        ("/etc/passwd", "below /dev"),
        ("/dev/../etc", "plain path"),
        ("/dev/shm/x", "of its own"),
        ("/dev/shm", "of its own"),
    ] {
        let error = web.try_update(&web.file().keys(&format!("devices = [ \"{path}\" ];"))).expect_err(path);
        assert!(chain(&error).contains(why), "{path}: {}", chain(&error));
    }
}

fn root_a_device_that_may_do_harm_needs_a_word_of_the_hosts(lab: &Lab) {
    let web = lab.busybox("web");
    // A disk, a card's control, the kernel's log, the host's own console.
    for path in ["/dev/loop0", "/dev/loop-control", "/dev/hwrng", "/dev/tty0"] {
        let place = "path = \"/dev/mine\";";
        let error = web
            .try_create(&web.file().keys(&format!("devices.\"{path}\" = {{ {place} }};")))
            .expect_err(path);
        assert!(matches!(&error, Error::Device { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(
            error.hint().unwrap().to_string().contains(&format!("allow_devices = [\"{path}\"]")),
            "{error:?}"
        );
    }
    lab.assert_nothing_left();
    // Whatever the host says.
    let all = lab.manager_with(|config| config.allow_devices = vec!["/dev/*".to_owned()]);
    let mem = Memory::new();
    let error = create(&web, &all, &web.file().keys(&format!("devices = [ \"{}\" ];", mem.0.display())))
        .expect_err("memory");
    assert!(chain(&error).contains("who has it has the host"), "{}", chain(&error));
    drop(mem);
    let named = lab.manager_with(|config| config.allow_devices = vec!["/dev/loop0".to_owned()]);
    create(
        &web,
        &named,
        &web.file().keys("devices.\"/dev/loop0\" = { path = \"/dev/disk\"; mode = \"0600\"; };"),
    )
    .must("create");
    web.start_by(&named);
    assert_eq!(seen(&web, "/dev/disk"), "block special file 7:0 0:0 600");
    probe(lab, &web);
    assert!(came(&web, "/root/probe open /dev/disk r"));
    web.terminate();
    // The host has changed its mind.
    let error = web.container().start(&mut ()).expect_err("not named any more");
    assert!(matches!(&error, Error::Device { .. }), "{error:?}");
}

fn create(guest: &Guest<'_>, manager: &Manager, file: &File) -> Result<(), Error> {
    let request: CreateRequest = guest.request(file);
    manager.container(guest.name().clone()).create(&request, &mut ()).map(drop)
}

/// A link in the host's `/dev`, while this is there.
struct Link(PathBuf);

impl Link {
    fn new(name: &str, to: &str) -> Self {
        let folder = Path::new("/dev/serial/by-id");
        fs::create_dir_all(folder).unwrap();
        let place = folder.join(format!("{name}-{}", std::process::id()));
        symlink(to, &place).unwrap();
        Self(place)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// A node of the machine's memory in the host's `/dev`, which need not have one.
struct Memory(PathBuf);

impl Memory {
    fn new() -> Self {
        let place = PathBuf::from(format!("/dev/attack-mem-{}", std::process::id()));
        nix_mknod(&place, (1, 1));
        Self(place)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

fn root_a_serial_line_is_found_by_its_id(lab: &Lab) {
    let web = lab.busybox("web");
    let link = Link::new("usb-meter", "../../ttyS0");
    let id = link.0.display().to_string();
    // It is this host's console.
    let manager = lab
        .manager_with(|config| config.allow_devices = vec!["/dev/ttyS*".to_owned(), "/dev/hwrng".to_owned()]);
    let file = web.file().keys(&format!("devices.\"{id}\" = {{ path = \"/dev/meter\"; group = 27; }};"));
    create(&web, &manager, &file).must("create");
    web.start_by(&manager);
    assert_eq!(seen(&web, "/dev/meter"), "character special file 4:40 0:27 660");
    web.terminate();
    // Plugged in anew, it has another number.
    fs::remove_file(&link.0).unwrap();
    symlink("../../hwrng", &link.0).unwrap();
    web.start_by(&manager);
    assert_eq!(seen(&web, "/dev/meter"), "character special file a:b7 0:27 660");
    // Also while the guest runs.
    fs::remove_file(&link.0).unwrap();
    symlink("../../ttyS0", &link.0).unwrap();
    let container = manager.container(web.name().clone());
    container.update(&UpdateRequest::default(), &mut ()).must("update");
    assert_eq!(seen(&web, "/dev/meter"), "character special file 4:40 0:27 660");
}

fn root_a_hostile_dev_leads_to_nothing_outside(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    probe(lab, &web);
    let outside = lab.path("/files/outside");
    fs::create_dir_all(&outside).unwrap();
    let mount = format!("lxc.mount.entry = {} mnt/outside none bind,create=dir 0 0", outside.display());
    web.update(&web.file().version("2").extra(&mount));
    web.terminate();
    web.start();
    let told = |version: &str, keys: &str| {
        let mut why = Vec::new();
        let mut observer = |event: Event| {
            if let Event::Note(Note::Guest(GuestNote::DeviceWaits { path, why: told, .. })) = event {
                why.push((path, told));
            }
        };
        let path =
            lab.file(&format!("hostile-{version}"), &web.file().version(version).extra(&mount).keys(keys));
        let request = UpdateRequest::default().with_file(Some(path));
        let switched = web.container().update(&request, &mut observer).must("update");
        (why, switched)
    };
    let mut version = 2;
    for (planted, expected) in [
        // A link in the place of the folder, and of the device.
        ("rm -rf /dev/net && ln -s /mnt/outside /dev/net", "a link"),
        ("rm -rf /dev/net && mkdir /dev/net && ln -s /mnt/outside/file /dev/net/tun", "a link"),
        ("rm -rf /dev/net && mkdir -p /dev/net/tun", "something else"),
        ("rm -rf /dev/net && mkdir /dev/net && mount -o bind /mnt/outside /dev/net", "a mount"),
        (
            "mkdir -p /root/dev && touch /root/dev/null && mount -o bind /dev/null /root/dev/null && mount -o rbind /root/dev /dev",
            "over its /dev",
        ),
    ] {
        web.shell(planted);
        version += 1;
        let (why, _) = told(&version.to_string(), "devices = [ \"/dev/net/tun\" ];");
        assert_eq!(why.len(), 1, "{planted}: {why:?}");
        assert!(why[0].0 == "/dev/net/tun" && why[0].1.contains(expected), "{planted}: {why:?}");
        // It waits, and is told so.
        let waits = web.container().status().must("status").pending_restart;
        let keys: Vec<&str> = waits.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["devices.\"/dev/net/tun\""], "{planted}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{planted}");
        version += 1;
        let (why, _) = told(&version.to_string(), "");
        assert_eq!(why, [], "{planted}");
        web.shell("umount /dev/net 2>/dev/null; [ -e /dev/pts ] || umount -l /dev; rm -rf /dev/net; true");
    }
    // A plain file in its place is under it, as it was.
    web.shell("mkdir /dev/net && echo mine >/dev/net/tun");
    let (why, _) = told("90", "devices = [ \"/dev/net/tun\" ];");
    assert_eq!((why.len(), seen(&web, "/dev/net/tun")), (0, TUN.to_owned()));
    let (why, _) = told("91", "");
    assert_eq!((why.len(), web.shell("cat /dev/net/tun").as_str()), (0, "mine"));
    web.terminate();
    fs::remove_dir_all(&outside).unwrap();
}
