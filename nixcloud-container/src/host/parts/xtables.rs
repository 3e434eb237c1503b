//! Rules of ours in a firewall that iptables drives, such as Docker's or ufw's: a drop there wins over our table.
//!
//! One tagged rule leads to a chain of ours. It stands behind all rules of the firewall's owner that say something of
//! certain packets, and before what would drop the rest: nothing that the owner forbids is allowed, not even by way of
//! `DOCKER-USER`, which comes before Docker's protection of its own containers.

use crate::error::Error;
use crate::model::config::Networks;
use crate::model::observe::Cancel;
use crate::net::bridge::MARK;
use crate::sys::tool::Tool;

/// How long iptables waits for its lock, in seconds.
const WAIT: &str = "10";

/// A place where the kernel asks, and our chain there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    /// The built-in chain.
    pub(super) name: &'static str,
    /// Our chain.
    chain: &'static str,
}

pub(super) const FORWARD: Hook = Hook { name: "FORWARD", chain: "NIXCLOUD-FORWARD" };
pub(super) const INPUT: Hook = Hook { name: "INPUT", chain: "NIXCLOUD-INPUT" };

/// One of the tables `filter` of this network namespace.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    program: String,
    ipv6: bool,
    /// What `-S` says.
    lines: Vec<String>,
    /// Of the operation that reads and changes it.
    cancel: Cancel,
}

/// How our rules are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// They are there as they should be.
    There,
    /// Something of them is there.
    Partly,
    /// Nothing of them is there.
    Absent,
}

impl Filter {
    /// Reads the table by this program.
    pub(super) fn read(program: &str, ipv6: bool, cancel: &Cancel) -> Result<Self, Error> {
        let text = Tool::new(program.as_ref(), cancel).run(&["-w", WAIT, "-S"], "")?;
        let lines = text.lines().map(str::to_owned).collect();
        Ok(Self { program: program.to_owned(), ipv6, lines, cancel: cancel.clone() })
    }

    /// How the program is called.
    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// Whether it drops what nobody allows.
    pub(super) fn is_closed(&self, hook: Hook) -> bool {
        self.lines.contains(&format!("-P {} DROP", hook.name)) || self.end(hook).is_some()
    }

    /// The number, from 0, of the first rule of others that ends it for all packets.
    fn end(&self, hook: Hook) -> Option<usize> {
        self.rules(hook.name).position(|rule| self.is_end(rule, 0))
    }

    fn rules<'a>(&'a self, chain: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = format!("-A {chain} ");
        self.lines.iter().filter_map(move |line| line.strip_prefix(&prefix))
    }

    /// Whether a rule drops every packet that comes to it, itself or in the chain that it leads to.
    fn is_end(&self, rule: &str, depth: usize) -> bool {
        let mut words = rule.split_whitespace();
        let (Some("-j" | "-g"), Some(target)) = (words.next(), words.next()) else { return false };
        match target {
            "DROP" | "REJECT" => true,
            // The kernel allows no circle; the depth is for a listing that is odd.
            chain => depth < 16 && self.rules(chain).any(|rule| self.is_end(rule, depth + 1)),
        }
    }

    pub(super) fn state(&self, hook: Hook, networks: &Networks) -> Rules {
        let wanted = rules(hook, networks, self.ipv6);
        let there: Vec<&str> = self.rules(hook.chain).collect();
        let jumps: Vec<usize> = self
            .rules(hook.name)
            .enumerate()
            .filter(|(_, rule)| *rule == jump(hook))
            .map(|(number, _)| number)
            .collect();
        let exists = self.lines.contains(&format!("-N {}", hook.chain));
        match jumps[..] {
            [] if !exists => Rules::Absent,
            [number] if there == wanted && self.end(hook).is_none_or(|end| number < end) => Rules::There,
            _ => Rules::Partly,
        }
    }

    /// Puts our rules in place of those that are there, at once.
    pub(super) fn insert(&self, hook: Hook, networks: &Networks) -> Result<(), Error> {
        self.restore(&self.insertion(hook, networks))
    }

    fn insertion(&self, hook: Hook, networks: &Networks) -> String {
        let Hook { name, chain } = hook;
        // Naming a chain empties it.
        let mut script = format!(":{chain} - [0:0]\n");
        script.push_str(&self.deletion(hook));
        for rule in rules(hook, networks, self.ipv6) {
            script.push_str(&format!("-A {chain} {rule}\n"));
        }
        let others = self.rules(name).filter(|rule| *rule != jump(hook));
        let end = others.enumerate().find(|(_, rule)| self.is_end(rule, 0));
        script.push_str(&match end {
            Some((number, _)) => format!("-I {name} {} {}\n", number + 1, jump(hook)),
            None => format!("-A {name} {}\n", jump(hook)),
        });
        script
    }

    fn deletion(&self, hook: Hook) -> String {
        let jump = jump(hook);
        let jumps = self.rules(hook.name).filter(|rule| *rule == jump).count();
        format!("-D {} {jump}\n", hook.name).repeat(jumps)
    }

    /// Removes our rules.
    pub(super) fn remove(&self, hook: Hook) -> Result<(), Error> {
        let chain = hook.chain;
        let mut script = self.deletion(hook);
        if self.lines.contains(&format!("-N {chain}")) {
            script.push_str(&format!("-F {chain}\n-X {chain}\n"));
        }
        self.restore(&script)
    }

    fn restore(&self, script: &str) -> Result<(), Error> {
        let program = format!("{}-restore", self.program);
        let script = format!("*filter\n{script}COMMIT\n");
        Tool::new(program.as_ref(), &self.cancel).run(&["-w", WAIT, "--noflush"], &script)?;
        Ok(())
    }
}

/// Our tagged rule, as iptables lists it.
fn jump(hook: Hook) -> String {
    format!("-m comment --comment {MARK} -j {}", hook.chain)
}

/// The rules of our chain, as iptables lists them. What they let pass, our own table has looked at.
fn rules(hook: Hook, networks: &Networks, ipv6: bool) -> Vec<String> {
    let (hostonly, internet) = (&networks.hostonly.bridge, &networks.internet.bridge);
    let mut rules = Vec::new();
    let mut rule = |text: String| rules.push(format!("{text} -j ACCEPT"));
    if hook == INPUT {
        for bridge in [hostonly, internet] {
            rule(format!("-i {bridge} -p udp -m udp --dport 53"));
            rule(format!("-i {bridge} -p tcp -m tcp --dport 53"));
        }
        if ipv6 {
            // Neighbours and router solicitations: without them there is no IPv6 on a link.
            rule(format!("-i {hostonly} -p ipv6-icmp"));
            rule(format!("-i {internet} -p ipv6-icmp"));
            rule(format!("-i {internet} -p udp -m udp --dport 547"));
        } else {
            rule(format!("-i {internet} -p udp -m udp --dport 67"));
        }
        return rules;
    }
    // With `bridge-nf-call-iptables` what a bridge passes on comes by here, too.
    rule(format!("-i {hostonly} -o {hostonly}"));
    rule(format!("-i {internet} -o {internet}"));
    rule(format!("-i {hostonly} -m conntrack --ctstate DNAT --ctdir REPLY"));
    rule(format!("-o {hostonly} -m conntrack --ctstate DNAT"));
    let out = networks.internet.uplink.as_ref().map_or_else(String::new, |uplink| format!(" -o {uplink}"));
    if !ipv6 || networks.internet.ipv6.is_some() {
        rule(format!("-i {internet}{out}"));
        rule(format!("-i {internet} -m conntrack --ctstate DNAT --ctdir REPLY"));
    }
    if ipv6 && networks.internet.ipv6.is_some() {
        rule(format!("-o {internet}"));
    } else {
        rule(format!("-o {internet} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT"));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{HostConfig, Ipv6Config};
    use crate::net::testing::in_own_netns;

    fn networks() -> Networks {
        HostConfig::default().network
    }

    fn filter(lines: &str) -> Filter {
        let lines = lines.lines().map(|line| line.trim().to_owned()).collect();
        Filter { program: "iptables".into(), ipv6: false, lines, cancel: Cancel::new() }
    }

    fn place(filter: &Filter) -> String {
        let script = filter.insertion(FORWARD, &networks());
        script.lines().last().unwrap().replace(&jump(FORWARD), "OURS")
    }

    #[test]
    fn ours_stand_before_what_ends_it_for_all() {
        let open = filter(
            "-P FORWARD ACCEPT\n-A FORWARD -s 1.2.3.4/32 -j DROP\n-A FORWARD -j LOGGED\n-N LOGGED\n-A LOGGED -j LOG",
        );
        assert!(!open.is_closed(FORWARD));
        let docker = filter(
            "-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n-A FORWARD -i docker0 -j ACCEPT\n-A DOCKER-USER -j RETURN",
        );
        assert!(docker.is_closed(FORWARD));
        assert_eq!(place(&docker), "-A FORWARD OURS");
        let rejects = filter(
            "-P FORWARD ACCEPT\n-A FORWARD -s 1.2.3.4/32 -j DROP\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n-A FORWARD -j LOG",
        );
        assert!(rejects.is_closed(FORWARD) && !rejects.is_closed(INPUT));
        assert_eq!(place(&rejects), "-I FORWARD 2 OURS");
        let nested = filter("-A FORWARD -j ONE\n-A ONE -j TWO\n-A TWO -j DROP\n-A ONE -j ONE");
        assert_eq!(place(&nested), "-I FORWARD 1 OURS");
    }

    /// Both kinds of iptables take our rules, list them as we write them, and let go of them.
    #[test]
    fn root_rules_come_and_go_alone() {
        let ipv6 = Ipv6Config { address: "2001:db8:1::1/64".parse().unwrap(), name_servers: Vec::new() };
        let mut whole = networks();
        whole.internet.ipv6 = Some(ipv6);
        whole.internet.uplink = Some("eth0".parse().unwrap());
        for (program, ipv6) in [
            ("iptables-nft", false),
            ("ip6tables-nft", true),
            ("iptables-legacy", false),
            ("ip6tables-legacy", true),
        ] {
            in_own_netns(|| {
                let cancel = &Cancel::new();
                let tool = Tool::new(program.as_ref(), cancel);
                let run = |words: &str| {
                    tool.run(&words.split(' ').collect::<Vec<_>>(), "").unwrap();
                };
                run("-P FORWARD DROP");
                run("-A FORWARD -p tcp -m tcp --dport 25 -j DROP");
                run("-A INPUT -j DROP");
                let before = Filter::read(program, ipv6, cancel).unwrap().lines;
                assert_eq!(
                    Filter::read(program, ipv6, cancel).unwrap().state(FORWARD, &whole),
                    Rules::Absent
                );
                for networks in [networks(), whole.clone()] {
                    for hook in [FORWARD, INPUT] {
                        for _ in 0..2 {
                            Filter::read(program, ipv6, cancel).unwrap().insert(hook, &networks).unwrap();
                            let there = Filter::read(program, ipv6, cancel).unwrap();
                            assert_eq!(
                                there.state(hook, &networks),
                                Rules::There,
                                "{program} {:#?}",
                                there.lines
                            );
                        }
                    }
                }
                run("-I FORWARD 1 -j DROP");
                assert_eq!(
                    Filter::read(program, ipv6, cancel).unwrap().state(FORWARD, &whole),
                    Rules::Partly
                );
                run("-D FORWARD 1");
                for hook in [FORWARD, INPUT] {
                    Filter::read(program, ipv6, cancel).unwrap().remove(hook).unwrap();
                    assert_eq!(
                        Filter::read(program, ipv6, cancel).unwrap().state(hook, &whole),
                        Rules::Absent
                    );
                }
                assert_eq!(Filter::read(program, ipv6, cancel).unwrap().lines, before, "{program}");
            });
        }
    }
}
