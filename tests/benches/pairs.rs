//! Times pairs of commands side by side: each round runs ours and the peer's in turn, so that what disturbs one
//! disturbs the other. `scripts/bench.sh` says which.
//!
//! ```text
//! pairs ROUNDS < pairs    each line: NAME <TAB> PREPARE <TAB> OURS <TAB> PEER <TAB> AFTER
//! ```
//!
//! Commands are words without quoting, run without a shell, whose start would count.

#![expect(clippy::print_stdout, reason = "it reports by printing")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("an empty command")?;
    let begin = Instant::now();
    let output = Command::new(program).args(words).stdin(Stdio::null()).output()?;
    let took = begin.elapsed();
    if output.status.success() {
        Ok(took)
    } else {
        Err(format!("`{command}` failed: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// In milliseconds.
fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
