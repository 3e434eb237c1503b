//! A guest's own firewall, as NixOS sets one up: in the guest's network namespace alone, beside all that the host does.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::harness::{File, Guest, Kind, Lab, eventually, scenarios};

scenarios! {
    once: [
        root_a_guests_nftables_hold_and_survive_an_update,
        root_a_guests_iptables_hold_and_survive_an_update,
        root_a_guests_legacy_iptables_hold_and_survive_an_update,
    ],
    both: [],
}

/// Two services, and a firewall that `start` sets up and `stop` takes down.
fn file(guest: &Guest<'_>, start: &str, stop: &str) -> File {
    let service = |port: u16| {
        format!(
            "systemd.services.web{port} = {{ wantedBy = [ \"multi-user.target\" ]; \
             script = \"exec busybox httpd -f -p {port} -h /run\"; }};"
        )
    };
    guest.file().module(&service(80)).module(&service(81)).module(&format!(
        "systemd.services.firewall = {{\n\
         wantedBy = [ \"multi-user.target\" ];\n\
         serviceConfig = {{ Type = \"oneshot\"; RemainAfterExit = true; }};\n\
         script = ''\n{start}\n'';\n\
         preStop = ''\n{stop}\n'';\n\
         }};"
    ))
}

/// The ruleset of NixOS's `networking.nftables`, with its check of the way back.
fn nftables(ports: &str) -> String {
    format!(
        "nft -f - <<'END'
table inet nixos-fw {{
  chain rpfilter {{
    type filter hook prerouting priority mangle + 10; policy drop;
    meta nfproto ipv4 udp sport . udp dport {{ 67 . 68, 68 . 67 }} accept
    fib saddr . mark . iif oif exists accept
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    iifname {{ lo }} accept
    ct state vmap {{ invalid : drop, established : accept, related : accept, new : jump input-allow, untracked : jump input-allow }}
    tcp flags syn / fin,syn,rst,ack log level info prefix \"refused connection: \"
  }}
  chain input-allow {{
    tcp dport {{ {ports} }} accept
    icmp type echo-request accept
    icmpv6 type != {{ nd-redirect, 139 }} accept
  }}
}}
END"
    )
}

/// The script of NixOS's `networking.firewall` without nftables, for `kind` of iptables.
fn iptables(kind: &str, ports: &[u16]) -> String {
    let accept: String = ports
        .iter()
        .map(|port| format!("ip46tables -A nixos-fw -p tcp --dport {port} -j nixos-fw-accept\n"))
        .collect();
    format!(
        "ip46tables() {{ iptables-{kind} -w \"$@\"; ip6tables-{kind} -w \"$@\"; }}
ip46tables -N nixos-fw-accept
ip46tables -A nixos-fw-accept -j ACCEPT
ip46tables -N nixos-fw-log-refuse
ip46tables -A nixos-fw-log-refuse -p tcp --syn -j LOG --log-level info --log-prefix 'refused connection: '
ip46tables -A nixos-fw-log-refuse -j DROP
ip46tables -N nixos-fw
ip46tables -t mangle -N nixos-fw-rpfilter
ip46tables -t mangle -A PREROUTING -j nixos-fw-rpfilter
ip46tables -t mangle -A nixos-fw-rpfilter -m rpfilter --validmark -j RETURN
ip46tables -t mangle -A nixos-fw-rpfilter -j DROP
ip46tables -A nixos-fw -i lo -j nixos-fw-accept
ip46tables -A nixos-fw -m conntrack --ctstate ESTABLISHED,RELATED -j nixos-fw-accept
{accept}iptables-{kind} -w -A nixos-fw -p icmp --icmp-type echo-request -j nixos-fw-accept
ip46tables -A nixos-fw -j nixos-fw-log-refuse
ip46tables -A INPUT -j nixos-fw"
    )
}

fn no_iptables(kind: &str) -> String {
    format!(
        "for tables in iptables-{kind} ip6tables-{kind}; do
  $tables -w -F; $tables -w -X; $tables -w -t mangle -F; $tables -w -t mangle -X
done"
    )
}

/// Whether the guest takes a connection. What its firewall drops is not answered at all.
fn answers(address: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((address, port)), Duration::from_millis(500)).is_ok()
}

/// The host's own rules.
fn rules_of_the_host() -> String {
    let told = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    String::from_utf8(told.stdout).unwrap()
}

/// `closed` and `open` are what sets up and what takes down a firewall that lets one port through, or both.
fn holds(lab: &Lab, closed: &[String; 2], open: &[String; 2]) {
    let web = lab.guest("web", Kind::Systemd);
    let before = rules_of_the_host();
    web.create_from(&file(&web, "true", "true"));
    web.start();
    let address = web.address();
    let both = |what: &str| {
        let answer = || answers(address, 80) && answers(address, 81);
        eventually(what, Duration::from_secs(20), answer);
    };
    both("without a firewall both ports answer");

    let firewall = file(&web, &closed[0], &closed[1]);
    web.update(&firewall);
    let one = || answers(address, 80) && !answers(address, 81);
    eventually("the firewall lets one port through", Duration::from_secs(20), one);
    assert!(web.pings());
    assert_eq!(rules_of_the_host(), before, "the guest's rules are the guest's");

    // Another version of another service: the firewall is not touched.
    let invocation = || web.shell("systemctl show -p InvocationID firewall");
    let kept = invocation();
    web.update(&firewall.clone().version("2"));
    assert_eq!(invocation(), kept);
    assert!(one());

    web.update(&file(&web, &open[0], &open[1]).version("2"));
    both("the new firewall lets both ports through");
    assert_eq!(web.shell("systemctl is-system-running || systemctl --failed"), "running");
    web.stop();
    web.start();
    both("so it does after a start");
    assert_eq!(rules_of_the_host(), before);
}

fn root_a_guests_nftables_hold_and_survive_an_update(lab: &Lab) {
    let with = |ports| [nftables(ports), "nft delete table inet nixos-fw".to_owned()];
    holds(lab, &with("80"), &with("80, 81"));
}

fn with_iptables(lab: &Lab, kind: &str) {
    let with = |ports: &[u16]| [iptables(kind, ports), no_iptables(kind)];
    holds(lab, &with(&[80]), &with(&[80, 81]));
}

fn root_a_guests_iptables_hold_and_survive_an_update(lab: &Lab) {
    with_iptables(lab, "nft");
}

fn root_a_guests_legacy_iptables_hold_and_survive_an_update(lab: &Lab) {
    with_iptables(lab, "legacy");
}
