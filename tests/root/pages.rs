//! The pages that people read: each `console` block of them is played on a real host, and its answers are compared.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nixcloud_container_tests::pages::{self, Block};

use crate::harness::space::{Space, ip};
use crate::harness::{Lab, eventually, scenarios};

scenarios! {
    once: [root_consoles_of_the_pages_are_true],
    both: [],
}

/// Names of containers in the pages; in the lab they are its own.
const NAMES: [&str; 4] = ["site", "web", "nope", "demo"];

fn root_consoles_of_the_pages_are_true(lab: &Lab) {
    let blocks = pages::blocks().unwrap();
    let consoles: Vec<&Block> = blocks.iter().filter(|block| block.language == "console").collect();
    let played: Vec<&&Block> = consoles.iter().filter(|block| block.not_run.is_none()).collect();
    assert!(played.len() >= 2, "{} of {} blocks", played.len(), consoles.len());

    let examples = lab.path("/files/examples");
    fs::create_dir(&examples).unwrap();
    fs::copy(pages::root().join("examples/public.nix"), examples.join("public.nix")).unwrap();
    // What a page takes to be there.
    let web = lab.busybox("web");
    web.create();
    // A machine beyond the host.
    let outside = Space::new("up0", "in0");
    ip("addr add 192.0.2.2/24 dev up0");
    outside.ip("addr add 192.0.2.1/24 dev in0");
    for block in played {
        play(lab, &outside, block);
    }
    web.terminate();
    web.destroy();
    lab.line("destroy --force @site").done();
    ip("link del up0");
    lab.assert_nothing_left();
}

fn play(lab: &Lab, outside: &Space, block: &Block) {
    let mut lines = block.text.lines().peekable();
    while let Some(line) = lines.next() {
        let command =
            line.strip_prefix("# ").unwrap_or_else(|| panic!("{}: `{line}` is no command", block.place()));
        let command = command.split("  #").next().unwrap().trim();
        let mut answers = Vec::new();
        while let Some(answer) = lines.next_if(|line| !line.starts_with("# ")) {
            answers.push(answer);
        }
        let place = format!("{}: {command}", block.place());
        match command.split_once(' ') {
            Some(("nixcloud-container", words)) => {
                if words.starts_with("update site") {
                    edit(lab);
                }
                answers_as_shown(lab, &place, words, &answers);
            }
            // From elsewhere.
            Some(("curl", url)) => {
                // busybox's wget crashes in a network namespace that is not its first: asked by hand.
                let port = url.trim_end_matches('/').rsplit(':').next().unwrap_or_default();
                let address = format!("192.0.2.2:{port}").parse().unwrap();
                let ask = || -> std::io::Result<String> {
                    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
                    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
                    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
                    let mut said = String::new();
                    stream.read_to_string(&mut said)?;
                    Ok(said.split_once("\r\n\r\n").map_or(said.clone(), |(_, body)| body.to_owned()))
                };
                eventually(&place, Duration::from_secs(60), || {
                    outside.run(ask).is_ok_and(|said| said.lines().eq(answers.iter().copied()))
                });
            }
            _ => panic!("{place}: nothing plays that; `<!-- not run: REASON -->` before the block says why"),
        }
    }
}

/// "edit the file first"
fn edit(lab: &Lab) {
    let file = lab.path("/files/examples/public.nix");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("hello\\n", "hello again\\n")).unwrap();
}

fn answers_as_shown(lab: &Lab, place: &str, words: &str, answers: &[&str]) {
    let words = words.split_whitespace().map(|word| match NAMES.contains(&word) {
        true => lab.name(word).to_string(),
        false => word.to_owned(),
    });
    let mut command = lab.command(words);
    command.current_dir(lab.path("/files"));
    let told = Lab::told(&mut command);
    let shown = lab.plain(&told.stdout);
    let mut shown = shown.lines().map(varies);
    for answer in answers {
        assert!(shown.any(|line| line == varies(answer)), "{place}: no `{answer}` in {told:?}");
    }
    let refused = answers.iter().any(|answer| answer.contains("\"error\":"));
    assert_eq!(told.code != 0, refused, "{place}: {told:?}");
}

/// A line without what is another at each run: the number of a process, the address that is free.
fn varies(line: &str) -> String {
    let mut line = line.to_owned();
    for before in ["\"init_pid\":", "10.101.0."] {
        if let Some(at) = line.find(before).map(|at| at + before.len()) {
            let digits = line[at..].chars().take_while(char::is_ascii_digit).count();
            line.replace_range(at..at + digits, "N");
        }
    }
    line
}
