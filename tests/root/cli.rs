//! The command as people and scripts use it.

use std::fs;

use crate::harness::{Lab, scenarios};

scenarios! {
    once: [
        root_a_list_in_a_pipe_is_names,
        root_a_watched_list_in_a_pipe_tells_changes,
        root_a_reader_that_leaves_is_no_failure,
    ],
    both: [],
}

fn root_a_list_in_a_pipe_is_names(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create();
    db.create();
    fs::create_dir(lab.path("/var/lib/lxc/debian")).unwrap();
    fs::write(lab.path("/var/lib/lxc/debian/config"), "").unwrap();
    let names = lab.line("list").done();
    assert_eq!(names.lines().collect::<Vec<_>>(), [db.name().as_str(), web.name().as_str()]);
    assert_eq!(lab.line("--list --quiet").done(), names);
    fs::remove_dir_all(lab.path("/var/lib/lxc/debian")).unwrap();
}

fn root_a_watched_list_in_a_pipe_tells_changes(lab: &Lab) {
    use std::io::{BufRead, BufReader};
    let web = lab.busybox("web");
    web.create();
    let mut command = lab.command(["list", "--watch=1"]);
    let mut watch = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || lab.plain(&lines.next().unwrap().unwrap());
    let first = next();
    assert!(first.starts_with("web\tstopped\t"), "{first}");
    web.start();
    let second = next();
    assert!(second.starts_with("web\trunning\t") || second.starts_with("web\tstarting\t"), "{second}");
    let pid = nix::unistd::Pid::from_raw(watch.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(130));
}

fn root_a_reader_that_leaves_is_no_failure(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    for line in ["list", "list --json", "state --json @web", "list-generations @web", "help", "create --help"]
    {
        let words: Vec<String> =
            line.split(' ').map(|word| word.replace("@web", web.name().as_str())).collect();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = lab.command(&words).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr, b"", "{line}");
    }
}
