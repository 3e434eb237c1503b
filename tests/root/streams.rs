//! What of the caller's reaches a command in a guest, by the command itself: its bytes, signals and words, and no file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Guest, Kind, Lab, Pty, eventually, scenarios};

scenarios! {
    once: [
        root_run_t_passes_signals_on,
        root_a_full_disk_under_the_output_is_told,
        root_the_offset_of_a_file_is_where_the_command_stopped,
        root_a_caller_that_ignores_sigchld_is_served,
    ],
    both: [
        root_a_guest_gets_nothing_of_the_callers_files,
        root_all_output_comes_however_slow_the_reader,
        root_a_reader_that_is_gone_ends_the_command,
        root_streams_that_are_one_keep_their_order,
        root_run_passes_signals_on,
        root_streams_are_opened_by_name,
        root_words_that_are_no_text_come_as_they_are,
        root_commands_piped_into_login_run,
    ],
}

/// What guest root does with its three streams: takes their flags away, truncates and overwrites what they lead to, and
/// goes on with that in the background.
const THIEF: &str = r#"
#include <fcntl.h>
#include <unistd.h>
#include <stdio.h>
static void steal(const char *word) {
    for (int fd = 0; fd < 3; fd++) {
        fcntl(fd, F_SETFL, (fcntl(fd, F_GETFL) & ~O_APPEND) | O_NONBLOCK);
        lseek(fd, 0, SEEK_SET);
    }
    for (int fd = 1; fd < 3; fd++) { ftruncate(fd, 0); write(fd, word, 7); }
}
int main(int argc, char **argv) {
    char byte;
    while (read(0, &byte, 1) == 1 && byte != '\n');
    steal("stolen\n");
    if (argc > 1 && fork() == 0) {
        setsid();
        for (int i = 0; i < 40; i++) { usleep(100000); steal("later.\n"); }
    }
    return 0;
}
"#;

/// Builds the thief and puts it into the guest.
fn thief(lab: &Lab, web: &Guest<'_>) {
    let (source, program) = (lab.path("/files/thief.c"), lab.path("/files/thief"));
    fs::write(&source, THIEF).unwrap();
    let status =
        Command::new("cc").args(["-static", "-w", "-o"]).arg(&program).arg(&source).status().unwrap();
    assert!(status.success(), "cc: {status}");
    put(lab, web, &program, "/root/thief");
    web.shell("chmod 755 /root/thief");
}

/// A file of the host's into the guest.
fn put(lab: &Lab, web: &Guest<'_>, file: &Path, place: &str) {
    let mut command = run(lab, web, ["sh", "-c", &format!("cat >{place}")]);
    assert!(command.stdin(File::open(file).unwrap()).status().unwrap().success());
}

/// `run web WORDS`.
fn run<const N: usize>(lab: &Lab, web: &Guest<'_>, words: [&str; N]) -> Command {
    let mut command = lab.command(["run", web.name().as_str()]);
    command.args(words);
    command
}

fn flags(stream: impl AsFd) -> OFlag {
    OFlag::from_bits_truncate(fcntl(stream, FcntlArg::F_GETFL).unwrap())
}

/// The processes that have `file` open, but for this one.
fn holders(file: &File) -> Vec<String> {
    let (dev, ino) = {
        let m = file.metadata().unwrap();
        (m.dev(), m.ino())
    };
    let mut holders = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid == std::process::id().to_string() || pid.parse::<u32>().is_err() {
            continue;
        }
        for fd in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            if fs::metadata(fd.path()).is_ok_and(|m| (m.dev(), m.ino()) == (dev, ino)) {
                holders.push(pid.clone());
            }
        }
    }
    holders
}

fn root_a_guest_gets_nothing_of_the_callers_files(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    thief(lab, &web);
    // Files that are appended to, as `>>/var/log/x` makes them, and one that is read and could be written.
    let log = lab.path("/files/log");
    fs::write(&log, "kept\n").unwrap();
    let append = || File::options().append(true).open(&log).unwrap();
    let (out, err) = (append(), append());
    let input_path = lab.path("/files/input");
    fs::write(&input_path, "first\nsecond\n").unwrap();
    let mut input = File::options().read(true).write(true).open(&input_path).unwrap();
    let status = run(lab, &web, ["/root/thief", "stay"])
        .stdin(input.try_clone().unwrap())
        .stdout(out.try_clone().unwrap())
        .stderr(err.try_clone().unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.starts_with("kept\n") && said.matches("stolen\n").count() == 2, "{said:?}");
    for (stream, append) in [(&input, false), (&out, true), (&err, true)] {
        let flags = flags(stream);
        assert!(!flags.contains(OFlag::O_NONBLOCK) && flags.contains(OFlag::O_APPEND) == append, "{flags:?}");
    }
    assert_eq!(holders(&out), [""; 0], "who has the log after `run`");
    assert_eq!(holders(&input), [""; 0], "who has the input after `run`");
    assert_eq!(fs::read_to_string(&input_path).unwrap(), "first\nsecond\n");
    assert_eq!(input.stream_position().unwrap(), 6);
    // What stayed in the background goes on, and hits nothing.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fs::read_to_string(&log).unwrap(), said);

    // A socket and a pipe of the caller's.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let kept: OwnedFd = theirs.into();
    let status = run(lab, &web, ["/root/thief", "stay"])
        .stdin(kept.try_clone().unwrap())
        .stdout(writer.try_clone().unwrap())
        .stderr(kept.try_clone().unwrap())
        .spawn()
        .and_then(|mut child| {
            (&ours).write_all(b"a line\n")?;
            child.wait()
        })
        .unwrap();
    assert!(status.success());
    assert!(!flags(&kept).contains(OFlag::O_NONBLOCK) && !flags(&writer).contains(OFlag::O_NONBLOCK));
    // With ours closed nobody has them.
    drop((kept, writer));
    let begin = Instant::now();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut more = String::new();
    (&ours).read_to_string(&mut more).unwrap();
    assert!(said.contains("stolen") && more.contains("stolen"), "{said:?} {more:?}");
    assert!(begin.elapsed() < Duration::from_secs(1), "the guest held them");
}

fn root_all_output_comes_however_slow_the_reader(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    // 1 GiB, and what is written last.
    let mut child = run(lab, &web, ["sh", "-c", "head -c 1073741824 /dev/zero; echo end"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut count, mut tail, mut block) = (0, Vec::new(), vec![0; 1 << 20]);
    loop {
        let got = stdout.read(&mut block).unwrap();
        if got == 0 {
            break;
        }
        count += got;
        tail.extend_from_slice(&block[got.saturating_sub(4)..got]);
        tail.drain(..tail.len().saturating_sub(4));
    }
    assert_eq!((count, &tail[..]), ((1 << 30) + 4, &b"end\n"[..]));
    assert!(child.wait().unwrap().success());
    // Long after the command has ended, and more than pipes hold; a background child has the pipe for ever.
    let script = "sleep 60 & head -c 1500000 /dev/zero; echo end";
    let mut child = run(lab, &web, ["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let mut said = Vec::new();
    let begin = Instant::now();
    child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    assert!(said.len() == 1_500_004 && said.ends_with(b"end\n"), "{}", said.len());
    assert!(child.wait().unwrap().success() && begin.elapsed() < Duration::from_secs(20));
    // And back in, more than the command reads.
    let half = lab.path("/files/half");
    File::create(&half).unwrap().set_len(64 << 20).unwrap();
    let output = run(lab, &web, ["sh", "-c", "wc -c"]).stdin(File::open(&half).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "67108864");
    let output = run(lab, &web, ["true"]).stdin(File::open(&half).unwrap()).output().unwrap();
    assert!(output.status.success());
}

fn root_a_reader_that_is_gone_ends_the_command(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let mut child = run(lab, &web, ["yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "y\n");
    let output = child.wait_with_output().unwrap();
    // By SIGPIPE; a program that ignores it sees EPIPE.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(141) || said.contains("Broken pipe"), "{output:?}");
}

fn root_a_full_disk_under_the_output_is_told(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output =
        run(lab, &web, ["sh", "-c", "echo lost"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("No space left on device"), "{said}");
}

fn root_the_offset_of_a_file_is_where_the_command_stopped(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let path = lab.path("/files/lines");
    fs::write(&path, "1\n2\n3\n4\n").unwrap();
    let mut file = File::open(&path).unwrap();
    let at = |file: &mut File, words: [&str; 3]| {
        let output = run(lab, &web, words).stdin(file.try_clone().unwrap()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), file.stream_position().unwrap())
    };
    // As a shell's loop wants it.
    assert_eq!(at(&mut file, ["sh", "-c", "true"]), (String::new(), 0));
    assert_eq!(at(&mut file, ["sh", "-c", "read x; echo got $x"]), ("got 1\n".to_owned(), 2));
    assert_eq!(at(&mut file, ["sh", "-c", "read x; read x; echo got $x"]), ("got 3\n".to_owned(), 6));
    assert_eq!(at(&mut file, ["sh", "-c", "cat; cat"]), ("4\n".to_owned(), 8));
    let large = File::create_new(lab.path("/files/large")).unwrap();
    large.set_len(1 << 32).unwrap();
    let mut large = File::open(lab.path("/files/large")).unwrap();
    assert_eq!(at(&mut large, ["sh", "-c", "dd bs=5 count=1 2>/dev/null | wc -c"]), ("5\n".to_owned(), 5));
    // A guest that writes into its own stdin moves it no further back than it was.
    large.seek(SeekFrom::Start(100)).unwrap();
    let script = "timeout 1 head -c 200000 /dev/zero >/proc/self/fd/0; true";
    let (_, offset) = at(&mut large, ["sh", "-c", script]);
    assert!(offset >= 100, "{offset}");
}

fn root_streams_that_are_one_keep_their_order(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let log = lab.path("/files/log");
    let file = File::create(&log).unwrap();
    let script = "i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); done";
    let status =
        run(lab, &web, ["sh", "-c", script]).stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
    assert!(status.success());
    let wanted: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    assert_eq!(fs::read_to_string(&log).unwrap().lines().collect::<Vec<_>>(), wanted);
}

const SIGNALS: [(Signal, &str); 5] = [
    (Signal::SIGQUIT, "QUIT"),
    (Signal::SIGUSR1, "USR1"),
    (Signal::SIGUSR2, "USR2"),
    (Signal::SIGWINCH, "WINCH"),
    (Signal::SIGCONT, "CONT"),
];

fn trap(name: &str) -> String {
    format!("trap 'echo got {name}; exit 7' {name}; echo rea''dy; while :; do sleep 0.1; done")
}

fn sends(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

fn root_run_passes_signals_on(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    for (signal, name) in SIGNALS {
        let mut child = run(lab, &web, ["sh", "-c", &trap(name)]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready", "{name}");
        sends(&child, signal);
        let more: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!((more, child.wait().unwrap().code()), (vec![format!("got {name}")], Some(7)), "{name}");
    }
    // Where the command has no use for it, it ends as by a signal of the guest's own.
    let mut child =
        run(lab, &web, ["sh", "-c", "echo ready; exec sleep 60"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    sends(&child, Signal::SIGUSR1);
    assert_eq!(child.wait().unwrap().code(), Some(128 + Signal::SIGUSR1 as i32));
}

fn root_run_t_passes_signals_on(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    for (signal, name) in &SIGNALS[..3] {
        let mut command = lab.command(["run", "-t", web.name().as_str(), "sh", "-c", &trap(name)]);
        let mut run = Pty::spawn(command.env("TERM", "xterm"), 33, 101);
        run.awaits("ready");
        run.signal(*signal);
        run.awaits(&format!("got {name}"));
        assert_eq!(run.exit().code(), Some(7), "{name}");
        assert_eq!(run.settings(), *run.settings_before(), "{name}");
    }
}

fn root_words_that_are_no_text_come_as_they_are(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    web.shell("mkdir \"/tmp/$(printf 'd\\377')\"");
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let script = "printf '%s|%s|' \"$1\" \"$V\"; pwd; exit 5";
    for json in [false, true] {
        let mut command = lab.command(if json { &["--json", "run"][..] } else { &["run"] });
        command.args(["-w".into(), bytes(b"/tmp/d\xff"), "-e".into(), bytes(b"V=\xe9=x")]);
        command.args([web.name().as_str(), "sh", "-c", script, "x"]).arg(bytes(b"\xff\xfe"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        if json {
            let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(said["stdout"]["lossy"], true, "{said}");
        } else {
            assert_eq!(output.stdout, b"\xff\xfe|\xe9=x|/tmp/d\xff\n");
        }
    }
    // A program whose name is no text is not found, and told.
    let mut command = lab.command(["run", web.name().as_str()]);
    let output = command.arg(bytes(b"no\xff")).output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    // Of a number without a name nothing is known, and `/` is home.
    let told = lab.cli(["run", "-u", "4000", web.name().as_str(), "sh", "-c", "echo $HOME; cd; pwd"]);
    assert_eq!(told.done(), "/\n/");
}

/// As programs do that are told to log there.
fn root_streams_are_opened_by_name(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    for user in ["root", "1000"] {
        let script = "echo out >/dev/stdout; echo err >/dev/stderr; cat /dev/stdin";
        let mut command = lab.command(["run", "-u", user, web.name().as_str(), "sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"in\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(said, (Some(0), "out\nin\n".to_owned(), "err\n".to_owned()), "{user}");
    }
}

fn root_commands_piped_into_login_run(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let login = |words: &[&str], input: &str| {
        let mut command = lab.command(["login"]);
        command.args(words).arg(web.name().as_str());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
    };
    let (code, said, errors) = login(&[], "echo in $PWD\ntty\nfalse\nexit 3\necho never\n");
    assert_eq!((code, said.as_str()), (Some(3), "in /root\nnot a tty\n"), "{errors:?}");
    // To the end of the commands.
    let (code, said, errors) = login(&["-w", "/tmp", "-e", "A=b c"], "pwd; echo $A\n");
    assert_eq!((code, said.as_str()), (Some(0), "/tmp\nb c\n"), "{errors:?}");
    // A login shell: it reads what a login reads.
    web.shell("echo 'echo profile read' >/root/.profile; cp /root/.profile /root/.bash_profile");
    let (code, said, errors) = login(&[], "echo done\n");
    assert_eq!((code, said.as_str()), (Some(0), "profile read\ndone\n"), "{errors:?}");
    let (code, said, errors) = login(&["-u", "nobody"], "id -u\n");
    assert!(code != Some(0) || said.contains("65534"), "{code:?} {said} {errors:?}");
}

fn root_a_caller_that_ignores_sigchld_is_served(lab: &Lab) {
    let web = lab.busybox("web");
    let cli = |words: &[&str]| {
        let ours = lab.command(words);
        let mut command = Command::new("env");
        command
            .arg("--ignore-signal=CHLD")
            .arg(ours.get_program())
            .args(ours.get_args())
            .stdin(Stdio::null());
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let told = Lab::told(&mut command);
        assert_eq!(told.code, 0, "{words:?}: {told:?}");
        told.stdout
    };
    let name = web.name().as_str();
    let (one, two) = (lab.file("one", &web.file()), lab.file("two", &web.file().version("2")));
    cli(&["create", name, one.to_str().unwrap()]);
    cli(&["start", name]);
    web.await_version();
    assert_eq!(cli(&["run", name, "sh", "-c", "sleep 0.1; echo here"]), "here\n");
    cli(&["update", name, two.to_str().unwrap()]);
    cli(&["rollback", name]);
    cli(&["stop", name]);
    cli(&["destroy", name]);
    cli(&["host", "check"]);
    eventually("nothing is left", Duration::from_secs(5), || lab.leaks().is_empty());
}
