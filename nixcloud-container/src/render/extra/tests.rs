//! Which keys pass, and which are refused.

use super::*;

fn refused(line: &str) -> String {
    parse(line, &[]).map(|_| ()).expect_err(line).why
}

/// Each allowed key is matched whole, and so is what follows a prefix of LXC's.
#[test]
fn a_key_is_matched_whole_also_where_the_host_allows_its_kind() {
    let all = ["lxc.cgroup.*", "lxc.cgroup2.*", "lxc.sysctl.*", "lxc.net.*"].map(str::to_owned);
    for line in [
        "lxc.cgroup2../pids.max = max",
        "lxc.cgroup2.memory/../../pids.max = max",
        "lxc.cgroup2.memory..max = 1",
        "lxc.cgroup2..memory.max = 1",
        "lxc.cgroup2.memory.max. = 1",
        "lxc.cgroup./tasks = 1",
        "lxc.sysctl.net/../kernel.core_pattern = x",
        "lxc.sysctl..net.x = 1",
        "lxc.sysctl.net.ipv4/x = 1",
        "lxc.net.2./script.up = /bin/sh",
        "lxc.net.2..type = veth",
    ] {
        assert!(parse(line, &all).is_err(), "{line} passed though no key");
        assert!(refused(line).contains("no key of LXC"), "{line}: {}", refused(line));
    }
}

#[test]
fn what_follows_a_prefix_of_keys_is_known_by_name() {
    for line in [
        "lxc.cgroup2.cgroup.procs = 1",
        "lxc.cgroup.cgroup.procs = 1",
        "lxc.cgroup2.cgroup.threads = 1",
        "lxc.cgroup2.cgroup.type = threaded",
        "lxc.cgroup2.cgroup.freeze = 1",
        "lxc.cgroup2.cgroup.kill = 1",
        "lxc.cgroup2.cgroup.max.descendants = max",
        "lxc.cgroup2.cgroup.subtree_control = -pids",
        "lxc.cgroup.tasks = 1",
        "lxc.cgroup.notify_on_release = 1",
        "lxc.cgroup.release_agent = /bin/sh",
        "lxc.cgroup.freezer.state = FROZEN",
        "lxc.cgroup2.cpuset.cpus.partition = root",
        "lxc.cgroup2.cpuset.cpus.exclusive = 0",
        "lxc.cgroup.cpuset.cpu_exclusive = 1",
        "lxc.cgroup.cpu.rt_runtime_us = 950000",
        "lxc.cgroup2.hugetlb.2MB.current = 1",
        "lxc.sysctl.kernel.core_pattern = |/bin/sh",
        "lxc.sysctl.kernel.pid_max = 4194304",
        "lxc.sysctl.kernel.shmmaxx = 1",
        "lxc.sysctl.vm.swappiness = 1",
        "lxc.sysctl.fs.file-max = 1",
        "lxc.sysctl.fs.mqueuex = 1",
        "lxc.sysctl.user.max_user_namespaces = 1",
        "lxc.sysctl.net = 1",
        "lxc.environment = SECRET",
        "lxc.signal.new = SIGTERM",
        "lxc.start.new = 1",
        "lxc.time.offset.new = 1",
        "lxc.console.buffer.size = 1GB",
        "lxc.console.buffer.size = 17MB",
        "lxc.console.buffer.size = 1TB",
        "lxc.console.size = 1MB",
        "lxc.console.rotate = 1",
        "lxc.console.path = /dev/tty1",
        "lxc.log.level = 0",
        "lxc.log.syslog = daemon",
        "lxc.tty.dir = /etc",
        "lxc.mount.auto = proc:rw sys:rw",
        "lxc.environment.hooks = A=b",
        "lxc.environment.runtime = A=b",
        "lxc.net.2.link = a;reboot",
        "lxc.net.2.link = $(id)",
        "lxc.net.2.veth.pair = a b",
        "lxc.net.2.veth.pair = nci-00000001",
        "lxc.net.2.veth.pair = ncn-00000001",
        "lxc.net.2.name = -x",
        "lxc.net.2.script.down = /bin/sh",
        "lxc.net.2.type.x = veth",
    ] {
        refused(line);
    }
    for line in [
        "lxc.cgroup2.memory.swap.max = 0",
        "lxc.cgroup2.hugetlb.2MB.rsvd.max = 0",
        "lxc.cgroup.memory.memsw.limit_in_bytes = 1G",
        "lxc.sysctl.net.ipv4.ip_forward = 1",
        "lxc.sysctl.kernel.shmmax = 1",
        "lxc.sysctl.kernel.sem = 1 2 3 4",
        "lxc.sysctl.fs.mqueue.msg_max = 20",
        "lxc.signal.halt = SIGPWR",
        "lxc.console.buffer.size = auto",
        "lxc.console.buffer.size = 4MB",
        "lxc.environment = A=",
        "lxc.net.2.link = br-0.1_a",
    ] {
        parse(line, &[]).unwrap();
    }
}

#[test]
fn keys_that_undo_the_protection_are_refused() {
    for line in [
        "lxc.idmap =",
        "lxc.idmap = u 0 0 4294967295",
        "lxc.rootfs.path = /",
        "lxc.rootfs.options = idmap=container",
        "lxc.hook.pre-start = /bin/sh",
        "lxc.hook.mount =",
        "lxc.include = /etc/passwd",
        "lxc.apparmor.profile = unconfined",
        "lxc.selinux.context = x",
        "lxc.cap.keep = none",
        "lxc.cap.drop =",
        "lxc.seccomp.profile =",
        "lxc.namespace.share.net = 1",
        "lxc.namespace.clone = mount",
        "lxc.init.cmd = /bin/sh",
        "lxc.init.uid = 1",
        "lxc.mount.fstab = /etc/fstab",
        "lxc.mount.auto = cgroup-full:rw:force",
        "lxc.mount.entry =",
        "lxc.log.file = /etc/passwd",
        "lxc.console.logfile = /etc/passwd",
        "lxc.cgroup2 =",
        "lxc.cgroup2.devices.allow =",
        "lxc.cgroup.dir = /",
        "lxc.cgroup.dir.container = /",
        "lxc.cgroup.relative = 1",
        "lxc.net =",
        "lxc.net.0.type = none",
        "lxc.net.0.ipv4.address = 10.0.0.1/8",
        "lxc.net.2 =",
        "lxc.net.2.type = none",
        "lxc.net.2.type = phys",
        "lxc.net.2.script.up = /bin/sh",
        "lxc.net.2.veth.ipv4.route = 10.0.0.0/8",
        "lxc.net.2.veth.mode = router",
        "lxc.net.2.macvlan.mode = passthru",
        "lxc.net.2.l2proxy = 1",
        // Written by LXC as host root, below a path that the guest shapes.
        "lxc.proc.oom_score_adj = 10",
        "lxc.proc.root.etc.crontab = x",
        "lxc.prlimit.rtprio = 99",
        "lxc.cgroup2.pids.max = max",
        "lxc.cgroup.pids.max = max",
        "lxc.cgroup.devices.allow = \"''\"",
        "lxc.execute.cmd = x",
        "lxc.some.new.key = 1",
        "LXC.IDMAP = x",
    ] {
        refused(line);
    }
}

#[test]
fn harmless_keys_pass_and_the_host_can_allow_others() {
    let text = "# limits\n\n  lxc.cgroup2.memory.max = 1G\nlxc.net.2.type=veth\nlxc.net.2.link = br9\nlxc.environment = \"A=b c\"\n";
    let lines = parse(text, &[]).unwrap();
    assert_eq!(lines.len(), 4);
    assert_eq!((lines[0].number, lines[0].value.as_str()), (Some(3), "1G"));
    assert_eq!(lines[3].value, "A=b c");
    assert!(parse("lxc.hook.mount = /x", &["lxc.hook.*".to_owned()]).is_ok());
    assert!(parse("lxc.hooks = /x", &["lxc.hook.*".to_owned()]).is_err());
}

#[test]
fn errors_name_the_line() {
    let error = parse("lxc.group = a\nlxc.idmap =", &[]).unwrap_err();
    assert_eq!(error.number, Some(2));
    assert!(error.to_string().starts_with("lxcExtraConfig line 2, `lxc.idmap =`: "), "{error}");
    assert_eq!(refused("nonsense"), "it is not `key = value`");
}

#[test]
fn items_are_judged_as_lines_are_and_are_one_line_each() {
    let item = |key: &str, value: &str| items(&[(key.to_owned(), value.to_owned())], "item", &[]);
    let line = item("lxc.group", " shop ").unwrap().remove(0);
    assert_eq!((line.number, line.value.as_str(), line.place.as_str()), (None, "shop", "item-1"));
    for (key, value) in [
        ("lxc.idmap", "u 0 0 4294967295"),
        ("lxc.hook.mount", "/bin/sh"),
        ("lxc.group", "a\nlxc.idmap ="),
        ("lxc.group\nlxc.idmap", "x"),
        ("lxc.cgroup2.dir = ", "x"),
        ("lxc.cgroup2.dir =", "x"),
        ("lxc.sysctl.a b", "x"),
        ("lxc.group", "\"x\""),
        ("lxc.group", ""),
        ("group", "x"),
        ("", "x"),
    ] {
        let error = item(key, value).expect_err(key);
        assert!(error.to_string().starts_with("LXC configuration item `"), "{error}");
    }
    assert!(items(&[("lxc.hook.mount".into(), "/x".into())], "item", &["lxc.hook.*".to_owned()]).is_ok());
}
