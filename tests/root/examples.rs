//! The programs that people start from, against real guests: what their pages promise.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nixcloud_container::State;

use crate::harness::{Guest, Lab, Told, scenarios};

scenarios! {
    once: [
        root_tenants_of_a_web_service_come_and_go,
        root_jobs_have_containers_that_are_gone_afterwards,
        root_a_canary_keeps_a_bad_change_from_the_others,
    ],
    both: [],
}

/// An example, as cargo has built it.
pub fn example(name: &str) -> Command {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let program = target.join("debug").join(name);
    assert!(program.exists(), "{} is missing: `cargo build -p {name}` makes it", program.display());
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Its service, ended with this.
struct Service {
    child: Child,
    socket: PathBuf,
}

impl Service {
    fn new(lab: &Lab, template: &Path) -> Self {
        let socket = lab.path("/files/tenants.socket");
        let mut command = example("tenants");
        command.arg(lab.config_file()).arg(template).arg(&socket).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening at "), "{line}");
        Self { child, socket }
    }

    /// The status of an answer, and its document.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn root_tenants_of_a_web_service_come_and_go(lab: &Lab) {
    let (acme, brill, other) = (lab.busybox("acme"), lab.busybox("brill"), lab.busybox("other"));
    other.create();
    let template = lab.file("template", &acme.file());
    let service = Service::new(lab, &template);
    assert_eq!(service.socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let path = |guest: &Guest<'_>, rest: &str| format!("/tenants/{}{rest}", guest.name());

    // Two at once.
    let made: Vec<_> = std::thread::scope(|scope| {
        let put = |path: String| service.ask("PUT", &path, "");
        let asked = [&acme, &brill].map(|guest| path(guest, "")).map(|path| scope.spawn(move || put(path)));
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for (status, document) in made {
        assert_eq!((status, &document["state"]), (201, &"running".into()), "{document}");
        assert_eq!(document["addresses"].as_array().unwrap().len(), 1, "{document}");
    }
    assert_eq!((acme.state(), brill.state()), (State::Running, State::Running));
    let (status, all) = service.ask("GET", "/tenants", "");
    assert_eq!((status, all.as_array().unwrap().len()), (200, 2), "{all}");

    let (status, said) = service.ask("POST", &path(&acme, "/run"), "echo $((6 * 7)); echo no >&2; exit 3");
    assert_eq!(status, 200, "{said}");
    assert_eq!(
        (&said["exit"], &said["stdout"], &said["stderr"]),
        (&3.into(), &"42\n".into(), &"no\n".into())
    );

    lab.file("template", &acme.file().version("2"));
    let (status, document) = service.ask("PUT", &path(&acme, ""), "");
    assert_eq!((status, &document["generation"]), (200, &2.into()), "{document}");
    assert_eq!((acme.generation(), brill.generation()), (2, 1));

    // What is no tenant is not shown, changed or taken away.
    for (method, rest) in [("GET", ""), ("PUT", ""), ("POST", "/run"), ("DELETE", "")] {
        let (status, document) = service.ask(method, &path(&other, rest), "true");
        assert_eq!(status, 404, "{method} {document}");
    }
    assert_eq!((other.generation(), other.state()), (1, State::Stopped));
    let (status, document) = service.ask("PUT", "/tenants/-bad", "");
    assert!(status == 400 && document["error"].as_str().unwrap().contains("-bad"), "{status} {document}");
    assert_eq!(service.ask("POST", &path(&acme, "/run"), &"x".repeat(70_000)).0, 413);
    assert_eq!(service.ask("PATCH", &path(&acme, ""), "").0, 405);
    assert_eq!(service.ask("GET", "/", "").0, 404);
    // A template that is wrong is nothing that whoever asks can mend: the words are Nix's, the tenant stays what it was.
    fs::write(&template, "{ configuration = throw \"no\"; }").unwrap();
    let (status, document) = service.ask("PUT", &path(&acme, ""), "");
    assert!(
        status == 500 && document["error"].as_str().unwrap().contains("evaluation"),
        "{status} {document}"
    );
    assert_eq!((acme.generation(), acme.state()), (2, State::Running));

    for guest in [&acme, &brill] {
        assert_eq!(service.ask("DELETE", &path(guest, ""), "").0, 204);
        assert_eq!(service.ask("GET", &path(guest, ""), "").0, 404);
    }
    drop(service);
    other.destroy();
    lab.assert_nothing_left();
}

fn root_jobs_have_containers_that_are_gone_afterwards(lab: &Lab) {
    let image = lab.file("image", &lab.busybox("unused").file());
    let job = |name: &str, script: &str| {
        let path = lab.path("/files").join(format!("{name}.sh"));
        fs::write(&path, script).unwrap();
        path
    };
    let jobs = [
        job("good", "echo one; mkdir /root/left; setsid sleep 1000 & echo $CI >&2"),
        job("bad", "echo two; false; echo never"),
        job("endless", "trap '' INT TERM; while :; do sleep 1; done"),
        job("clean", "[ ! -e /root/left ]"),
        job("loud", "yes | head -c 100000"),
    ];
    let mut command = example("ci-runner");
    command.arg(lab.config_file()).arg(&image).arg("5").args(&jobs);
    let told = Lab::told(&mut command);
    assert_eq!((told.code, told.stderr.as_str()), (1, ""), "{told:?}");
    let has = |text: &str| assert!(told.stdout.contains(text), "no {text:?} in {}", told.stdout);
    for text in [
        "1..5\n",
        "\nok 1 - good\n# passed after ",
        "#   one\n#   true\n",
        "not ok 2 - bad\n# ended with 1 after ",
    ] {
        has(text);
    }
    for text in [
        "not ok 3 - endless\n# took too long after ",
        "\nok 4 - clean\n",
        "\nok 5 - loud\n",
        "#   (cut off)\n",
    ] {
        has(text);
    }
    assert!(!told.stdout.contains("never"), "{}", told.stdout);
    assert_eq!(lab.line("list").done(), "");
    lab.assert_nothing_left();
}

fn root_a_canary_keeps_a_bad_change_from_the_others(lab: &Lab) {
    let all = ["first", "second", "third"].map(|name| lab.busybox(name));
    for guest in &all {
        guest.boot();
        lab.file(guest.name().as_str(), &guest.file().version("2"));
    }
    let roll_out = |check: &str| -> Told {
        let mut command = example("canary");
        command.arg(lab.config_file()).args(all.iter().map(|guest| guest.name().as_str()));
        Lab::told(command.args(["--", "/bin/sh", "-c", check]))
    };
    let generations = || all.each_ref().map(Guest::generation);

    let told = roll_out("echo broken >&2; exit 1");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stdout.contains("ended with 1: broken: back at generation 1"), "{told:?}");
    assert!(told.stdout.contains("the others keep what they have"), "{told:?}");
    assert_eq!(generations(), [1, 1, 1]);
    for guest in &all {
        assert_eq!(guest.version().as_deref(), Some("1"));
    }

    // Only the last one does not bear it.
    let good = "[ ! -e /root/bad ] && for i in $(seq 250); do grep -q 'version 2' /run/greeting && exit 0; sleep 0.1; done; exit 1";
    all[2].shell("touch /root/bad");
    let told = roll_out(good);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stdout.contains(&format!("{}: `/bin/sh` ended with 1", all[2].name())), "{told:?}");
    assert_eq!((all[0].generation(), all[2].generation()), (2, 1));
    all[2].shell("rm /root/bad");
    let told = roll_out(good);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(all.iter().all(|guest| guest.version().as_deref() == Some("2")));
    // A name that is not there is told before anything is done.
    let mut command = example("canary");
    command.arg(lab.config_file()).args([all[0].name().as_str(), "nobody", "--", "true"]);
    let told = Lab::told(&mut command);
    assert!(told.code == 2 && told.stderr.contains("`nobody`"), "{told:?}");
}
