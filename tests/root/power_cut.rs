//! A power cut right after a command has said that it is done: what it said is on the disk.
//!
//! All that is kept, and a store of its own, lie on an image. The image is copied as it is right after a success: that is
//! what the disk has. The host then goes on with the copy. `sync` in the middle of a command stands for the kernel, which
//! writes when it likes, so that a disk has one half of what it was not told to write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nixcloud_container::{Error, Event, State, UpdateRequest};

use crate::harness::guest::id;
use crate::harness::space::run;
use crate::harness::{Guest, Lab, Must, scenarios};

scenarios! {
    once: [
        root_what_a_command_has_promised_survives_a_power_cut_on_ext4,
        root_what_a_command_has_promised_survives_a_power_cut_on_xfs,
        root_what_a_command_has_promised_survives_a_power_cut_on_btrfs,
    ],
    both: [],
}

const NONE: Option<&str> = None;

/// The smallest that `mkfs.xfs` makes, nearly all of it holes.
const SIZE: u64 = 320 << 20;

/// The disk of a lab's host: `/nix`, and below the lab's folder profiles, containers and state.
struct Disk<'l> {
    lab: &'l Lab,
    number: u32,
}

impl<'l> Disk<'l> {
    fn new(lab: &'l Lab, kind: &str) -> Self {
        lab.manager().host_down().must("host down");
        let disk = Self { lab, number: 0 };
        fs::File::create(disk.image()).unwrap().set_len(SIZE).unwrap();
        let image = disk.image().display().to_string();
        run(&format!("mkfs.{kind}"), &format!("-q {} {image}", if kind == "ext4" { "-F" } else { "-f" }));
        disk.mount();
        // The store has what the stand-in nixpkgs refers to.
        let prepare = Path::new(env!("CARGO_MANIFEST_DIR")).join("nixpkgs/prepare.sh");
        let mut prepare = Command::new(prepare);
        let prepared = prepare
            .args(["--no-systemd".as_ref(), lab.path("/standin").as_os_str()])
            .env("NIXCLOUD_STANDIN_CACHE", "/nix/standin")
            .output()
            .unwrap();
        assert!(prepared.status.success(), "{prepared:?}");
        lab.manager().host_up().must("host up");
        sync();
        disk
    }

    fn image(&self) -> PathBuf {
        self.lab.path(&format!("/disk-{}", self.number))
    }

    fn places(&self) -> [(&'static str, PathBuf); 3] {
        [("store", "/nix".into()), ("nix", self.lab.path("/nix")), ("var", self.lab.path("/var"))]
    }

    fn mount(&self) {
        let top = self.lab.path("/disk");
        fs::create_dir_all(&top).unwrap();
        run("mount", &format!("-o loop {} {}", self.image().display(), top.display()));
        for (name, place) in self.places() {
            fs::create_dir_all(top.join(name)).unwrap();
            fs::create_dir_all(&place).unwrap();
            mount(Some(&top.join(name)), &place, NONE, MsFlags::MS_BIND, NONE).unwrap();
        }
    }

    fn umount(&self) {
        for (_, place) in self.places() {
            umount2(&place, MntFlags::empty()).unwrap();
        }
        umount2(&self.lab.path("/disk"), MntFlags::empty()).unwrap();
        fs::remove_file(self.image()).unwrap();
    }

    /// What the disk has now is all that there is from here on.
    fn cut(&mut self, guest: &Guest<'_>) {
        let next = Self { lab: self.lab, number: self.number + 1 };
        run("cp", &format!("--sparse=always {} {}", self.image().display(), next.image().display()));
        if guest.container().exists().must("exists") {
            guest.container().terminate().must("terminate");
        }
        self.lab.manager().host_down().must("host down");
        self.umount();
        next.mount();
        // What is known of running guests is of one boot, and this would be another.
        let runs = self.lab.path("/var/lib/nixcloud/container/running");
        fs::remove_dir_all(&runs).unwrap();
        fs::create_dir(&runs).unwrap();
        self.number = next.number;
        self.lab.manager().host_up().must("host up");
    }

    fn end(self) {
        assert_eq!(
            self.lab.leaks().into_iter().filter(|left| !left.starts_with("mount")).collect::<Vec<_>>(),
            [] as [String; 0]
        );
        self.lab.manager().host_down().must("host down");
        self.umount();
        fs::remove_dir_all(self.lab.path("/standin")).unwrap();
        self.lab.manager().host_up().must("host up");
    }
}

fn sync() {
    run("sync", "-f /nix/store");
}

/// All files of a generation, with what is in them.
fn files(guest: &Guest<'_>, generation: u64) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let closure = run("nix-store", &format!("-qR {}", guest.generation_path(generation).display()));
    closure.lines().for_each(|path| read(Path::new(path), &mut files));
    assert!(files.len() > 10, "{files:?}");
    files
}

fn read(path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let found = path.symlink_metadata().unwrap();
    if found.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| read(&entry.unwrap().path(), files));
        return;
    }
    let link = || fs::read_link(path).unwrap().into_os_string().into_encoded_bytes();
    let contents = if found.is_symlink() { link() } else { fs::read(path).unwrap() };
    files.insert(path.to_owned(), contents);
}

/// The container is whole, as `generation` has it.
#[track_caller]
fn assert_whole(web: &Guest<'_>, generation: u64, had: &BTreeMap<PathBuf, Vec<u8>>) {
    assert_eq!((web.state(), web.generation()), (State::Stopped, generation));
    let has = files(web, generation);
    assert_eq!(has.len(), had.len(), "files are missing");
    for (path, contents) in had {
        assert!(has.get(path) == Some(contents), "{} is another", path.display());
    }
    web.start();
}

fn play(lab: &Lab, kind: &str) {
    let mut disk = Disk::new(lab, kind);
    let web = lab.busybox("web");
    web.create();
    let first = files(&web, 1);
    disk.cut(&web);
    assert_whole(&web, 1, &first);
    // What is put back: the kernel writes while the other generation is current.
    let bad = web.file().version("2").module("standin.switchExit = 2;");
    let request = UpdateRequest::new(lab.file(web.name().as_str(), &bad));
    let mut observer = |event: Event| {
        if let Event::Health { .. } = event {
            sync();
        }
    };
    let error = web.container().update(&request, &mut observer).unwrap_err();
    assert!(matches!(error, Error::Activation { restored: Some(_), .. }), "{error:?}");
    disk.cut(&web);
    assert_whole(&web, 1, &first);
    // One that is built already.
    web.update(&web.file().version("3"));
    let third = files(&web, 3);
    web.container().switch_generation(id(1), &mut ()).must("switch");
    sync();
    web.container().switch_generation(id(3), &mut ()).must("switch");
    disk.cut(&web);
    assert_whole(&web, 3, &third);
    assert_eq!(web.version().as_deref(), Some("3"));
    // What is gone stays gone, and its name can be used.
    web.terminate();
    web.destroy();
    disk.cut(&web);
    assert!(!web.container().exists().must("exists"));
    web.create();
    web.destroy();
    disk.end();
}

fn root_what_a_command_has_promised_survives_a_power_cut_on_ext4(lab: &Lab) {
    play(lab, "ext4");
}

fn root_what_a_command_has_promised_survives_a_power_cut_on_xfs(lab: &Lab) {
    play(lab, "xfs");
}

fn root_what_a_command_has_promised_survives_a_power_cut_on_btrfs(lab: &Lab) {
    play(lab, "btrfs");
}
