//! Times pairs of commands side by side: each round runs ours and the peer's in turn, so that what disturbs one
//! disturbs the other. `scripts/bench.sh` says which.
//!
//! ```text
//! pairs ROUNDS < pairs    each line: NAME <TAB> PREPARE <TAB> OURS <TAB> PEER <TAB> AFTER
//! ```
//!
//! Commands are words without quoting, run without a shell, whose start would count. `<FILE` is their stdin, `<<BYTES` a
//! pipe through which so many come. What they print is read and dropped, or goes to the end of a file by `>>FILE`, or to a
//! file that is emptied first, before the clock runs, by `>FILE`.

#![expect(clippy::print_stdout, reason = "it reports by printing")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How much is read and written at once.
const BLOCK: usize = 1 << 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Under `cargo test` there is nothing to time.
    let Some(rounds) = std::env::args().nth(1).and_then(|rounds| rounds.parse::<usize>().ok()) else {
        return Ok(());
    };
    println!("{:<28} {:>10} {:>10} {:>7}", "median of each, ms", "ours", "peer", "ratio");
    for line in std::io::stdin().lines() {
        let line = line?;
        let [name, prepare, ours, peer, after] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("not five fields: {line}").into());
        };
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            all(prepare)?;
            // Whoever goes first pays for a cold cache: in turn.
            if round % 2 == 0 {
                mine.push(timed(ours)?);
                theirs.push(timed(peer)?);
            } else {
                theirs.push(timed(peer)?);
                mine.push(timed(ours)?);
            }
            all(after)?;
        }
        let (mine, theirs) = (median(&mut mine), median(&mut theirs));
        let ratio = mine / theirs;
        println!("{name:<28} {mine:>10.2} {theirs:>10.2} {ratio:>7.2}");
    }
    Ok(())
}

/// Several commands, `;` between them.
fn all(commands: &str) -> Result<(), Box<dyn std::error::Error>> {
    for command in commands.split(';').filter(|command| !command.trim().is_empty()) {
        timed(command)?;
    }
    Ok(())
}

fn timed(command: &str) -> Result<Duration, Box<dyn std::error::Error>> {
    let (redirected, words): (Vec<&str>, Vec<&str>) =
        command.split_whitespace().partition(|word| word.starts_with(['<', '>']));
    let of = |direction| redirected.iter().find(|word| word.starts_with(direction));
    let (program, words) = words.split_first().ok_or("an empty command")?;
    let mut feed = None;
    let stdin = match of('<').map(|word| (word.strip_prefix("<<"), &word[1..])) {
        None => Stdio::null(),
        Some((None, file)) => File::open(file)?.into(),
        Some((Some(bytes), _)) => {
            let (reader, writer) = io::pipe()?;
            feed = Some((writer, bytes.parse::<u64>()?));
            reader.into()
        }
    };
    let stdout = match of('>').map(|word| (word.strip_prefix(">>"), &word[1..])) {
        None => Stdio::piped(),
        Some((None, file)) => File::create(file)?.into(),
        Some((Some(file), _)) => File::options().create(true).append(true).open(file)?.into(),
    };
    let begin = Instant::now();
    let mut child =
        Command::new(program).args(words).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn()?;
    let mut stderr = child.stderr.take().ok_or("no stderr")?;
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let fed = feed.map(|(mut writer, bytes)| {
        std::thread::spawn(move || {
            let block = [b'x'; BLOCK];
            (0..bytes / BLOCK as u64).try_for_each(|_| writer.write_all(&block))
        })
    });
    if let Some(mut stdout) = child.stdout.take() {
        let mut block = vec![0; BLOCK];
        while stdout.read(&mut block)? > 0 {}
    }
    let status = child.wait()?;
    let took = begin.elapsed();
    if let Some(fed) = fed {
        fed.join().map_err(|_| "the feeder failed")??;
    }
    let errors = errors.join().map_err(|_| "stderr could not be read")??;
    if status.success() { Ok(took) } else { Err(format!("`{command}` failed: {errors}").into()) }
}

/// In milliseconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
