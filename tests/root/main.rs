//! Scenarios on real LXC and real Nix: this crate as a program that links the library, and its own worker.
//!
//! `main` is three programs. As the *worker* it is what any program is that embeds the library. As the *runner* it
//! lists the scenarios and starts one process for each. As that *process* it unshares network and mounts before any
//! thread exists, plays one scenario in a folder of its own, and proves that nothing of it is left.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test program: it fails by panics and reports by printing"
)]

mod adoptable;
mod adoption;
mod apply;
mod apply_cut_off;
mod arguments;
mod attack;
mod autostart;
mod boot;
mod booting;
mod bridge_ports;
mod callers;
mod ceilings;
mod cgroups;
mod cli;
mod command;
mod completion;
mod crash;
mod data;
mod declared;
mod devices;
mod dry_run;
mod embedding;
mod enter;
mod examples;
mod expression;
mod extra_lines;
mod failure;
mod features;
mod field;
mod filter;
mod foreground;
mod forwards;
mod guest_firewall;
mod half_way;
mod harness;
mod host;
mod inherited;
mod janitor;
mod json;
mod life;
mod limits;
mod mistakes;
mod mistakes_nix;
mod module;
mod moving;
mod names;
mod nixos;
mod other_hosts;
mod own_size;
mod pages;
mod plan;
mod pools;
mod ports;
mod power;
mod power_cut;
mod progress;
mod ready;
mod repair;
mod rollback;
mod room;
mod scenario;
mod session;
mod spoofing;
mod store;
mod store_sight;
mod streams;
mod tables;
mod takeover;
mod terminal;
mod together;
mod update;
mod upgrade;
mod users;
mod watch;
mod words;

use std::process::ExitCode;

use harness::Scenario;

fn scenarios() -> Vec<Scenario> {
    [
        life::scenarios(),
        cgroups::scenarios(),
        other_hosts::scenarios(),
        own_size::scenarios(),
        session::scenarios(),
        store::scenarios(),
        store_sight::scenarios(),
        streams::scenarios(),
        inherited::scenarios(),
        tables::scenarios(),
        terminal::scenarios(),
        together::scenarios(),
        users::scenarios(),
        watch::scenarios(),
        power::scenarios(),
        power_cut::scenarios(),
        foreground::scenarios(),
        boot::scenarios(),
        booting::scenarios(),
        callers::scenarios(),
        progress::scenarios(),
        ready::scenarios(),
        repair::scenarios(),
        room::scenarios(),
        update::scenarios(),
        upgrade::scenarios(),
        limits::scenarios(),
        devices::scenarios(),
        ceilings::scenarios(),
        rollback::scenarios(),
        moving::scenarios(),
        adoption::scenarios(),
        adoptable::scenarios(),
        apply::scenarios(),
        apply_cut_off::scenarios(),
        declared::scenarios(),
        dry_run::scenarios(),
        data::scenarios(),
        takeover::scenarios(),
        janitor::scenarios(),
        attack::scenarios(),
        autostart::scenarios(),
        half_way::scenarios(),
        host::scenarios(),
        guest_firewall::scenarios(),
        filter::scenarios(),
        forwards::scenarios(),
        ports::scenarios(),
        bridge_ports::scenarios(),
        spoofing::scenarios(),
        failure::scenarios(),
        extra_lines::scenarios(),
        crash::scenarios(),
        embedding::scenarios(),
        enter::scenarios(),
        examples::scenarios(),
        features::scenarios(),
        field::scenarios(),
        expression::scenarios(),
        arguments::scenarios(),
        cli::scenarios(),
        command::scenarios(),
        completion::scenarios(),
        json::scenarios(),
        mistakes::scenarios(),
        mistakes_nix::scenarios(),
        module::scenarios(),
        names::scenarios(),
        nixos::scenarios(),
        pages::scenarios(),
        plan::scenarios(),
        pools::scenarios(),
        scenario::scenarios(),
        words::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    // First of all, as the library asks of its users; one scenario shows what happens without it.
    if std::env::var_os(harness::THREADED).is_some() {
        std::thread::spawn(std::thread::park);
    }
    if std::env::var_os(harness::NO_WORKER).is_none() {
        nixcloud_container::worker::init();
    }
    if std::env::args().nth(1).as_deref() == Some("--leader") {
        return harness::pty::lead(std::env::args_os().skip(2));
    }
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--scenario") => harness::child::play(&scenarios(), &arguments.next().unwrap_or_default()),
        Some("--actor") => harness::actor::act(arguments),
        _ => harness::runner::run(scenarios()),
    }
}
