//! Firewalls of others beside our table: what they drop, we cannot accept.
//!
//! One that iptables drives gets a rule of ours. Others have a configuration of their own, which is not ours to change:
//! `check` says how it is to be changed.

use std::fs;

use serde_json::Value;

use super::filter;
use super::xtables::{FORWARD, Filter, Hook, INPUT, Rules};
use crate::error::Error;
use crate::host::Host;
use crate::model::hint::Remedy;
use crate::model::host_report::{Change, Finding, HostChange, Part};
use crate::model::observe::Cancel;
use crate::net::nft::{Chain, Ruleset};
use crate::render::nft::TABLE;
use crate::sys::tool::{self, Tool};

/// Where the old kind of iptables keeps the names of its tables, for each network namespace.
const LEGACY: &str = "/proc/thread-self/net";
const HOOKS: [Hook; 2] = [FORWARD, INPUT];

/// What is there: all tables of nftables; none where there is no `nft`.
fn ruleset(host: &Host, cancel: &Cancel) -> Result<Ruleset, Error> {
    match filter::nft(host, cancel).ruleset() {
        Err(error) if error.is_missing() => Ok(Ruleset::default()),
        other => Ok(other?),
    }
}

/// Whether the old kind of iptables has a table.
fn legacy_has(ipv6: bool, table: &str) -> bool {
    let file = if ipv6 { "ip6_tables_names" } else { "ip_tables_names" };
    let text = fs::read_to_string(format!("{LEGACY}/{file}")).unwrap_or_default();
    text.lines().any(|name| name == table)
}

/// A chain that iptables made in nftables.
fn is_of_iptables(chain: &Chain) -> bool {
    matches!(chain.family.as_str(), "ip" | "ip6")
        && matches!(chain.table.as_str(), "filter" | "nat" | "mangle" | "raw" | "security")
        && chain.hook.as_ref().is_none_or(|hook| hook.to_uppercase() == chain.name)
}

/// The tables `filter` of iptables that are in use, of both families and both kinds. A kind that is not in use is not
/// even looked at: that would make its tables.
fn filters(host: &Host, ruleset: &Ruleset, cancel: &Cancel) -> Result<Vec<Filter>, Error> {
    let configured = host.config.tools.iptables.display().to_string();
    let mut filters = Vec::new();
    for (ipv6, family) in [(false, "ip"), (true, "ip6")] {
        let program = if ipv6 { sibling(&configured) } else { configured.clone() };
        let in_nft = ruleset.chains.iter().any(|chain| {
            chain.family == family && chain.table == "filter" && chain.hook.is_some() && is_of_iptables(chain)
        });
        for (in_use, kind, mark) in
            [(in_nft, "nft", "nf_tables"), (legacy_has(ipv6, "filter"), "legacy", "legacy")]
        {
            if !in_use {
                continue;
            }
            let is_it = Tool::new(program.as_ref(), cancel).run(&["-V"], "")?.contains(mark);
            let program = if is_it { program.clone() } else { format!("{program}-{kind}") };
            filters.push(Filter::read(&program, ipv6, cancel)?);
        }
    }
    Ok(filters)
}

/// `ip6tables` beside `iptables`.
fn sibling(iptables: &str) -> String {
    match iptables.rsplit_once("iptables") {
        Some((before, after)) => format!("{before}ip6tables{after}"),
        None => "ip6tables".to_owned(),
    }
}

fn name(filter: &Filter, hook: Hook) -> String {
    format!("{} {}", filter.program(), hook.name)
}

fn changed(name: String, change: Change) -> HostChange {
    HostChange { part: Part::Firewall, name, change }
}

pub(super) fn up(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let networks = &host.config.network;
    let mut changes = Vec::new();
    for filter in filters(host, &ruleset(host, cancel)?, cancel)? {
        for hook in HOOKS {
            let name = name(&filter, hook);
            match (filter.is_closed(hook), filter.state(hook, networks)) {
                (false, Rules::Absent) => {}
                (false, _) => {
                    filter.remove(hook)?;
                    changes.push(changed(name, Change::Removed));
                }
                (true, Rules::There) => changes.push(changed(name, Change::Kept)),
                (true, state) => {
                    filter.insert(hook, networks)?;
                    let change = if state == Rules::Absent { Change::Made } else { Change::Mended };
                    changes.push(changed(name, change));
                }
            }
        }
    }
    Ok(changes)
}

pub(super) fn down(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let mut changes = Vec::new();
    for filter in filters(host, &ruleset(host, cancel)?, cancel)? {
        for hook in HOOKS {
            if filter.state(hook, &host.config.network) != Rules::Absent {
                filter.remove(hook)?;
                changes.push(changed(name(&filter, hook), Change::Removed));
            }
        }
    }
    Ok(changes)
}

pub(super) fn check(host: &Host, cancel: &Cancel) -> Result<Vec<Finding>, Error> {
    let networks = &host.config.network;
    let ruleset = ruleset(host, cancel)?;
    let mut findings = Vec::new();
    match filters(host, &ruleset, cancel) {
        Ok(filters) => {
            for filter in &filters {
                for hook in HOOKS.into_iter().filter(|hook| filter.is_closed(*hook)) {
                    let name = name(filter, hook);
                    findings.push(if filter.state(hook, networks) == Rules::There {
                        Finding::good(Part::Firewall, name, "it drops what nobody allows, and has our rule")
                    } else {
                        let what = "it drops what nobody allows, and lacks our rule";
                        Finding::wrong(Part::Firewall, name, what, Remedy::HostUp)
                    });
                }
            }
        }
        // Then its rules cannot be looked at, nor ours be put there.
        Err(Error::Tool(error @ tool::Error::Missing { .. })) => {
            let what = format!("there are rules of iptables, but {error}");
            findings.push(Finding::wrong(Part::Firewall, "iptables", what, "install iptables"));
        }
        Err(error) => return Err(error),
    }
    let bridges = [networks.hostonly.bridge.as_str(), networks.internet.bridge.as_str()];
    for chain in closed(&ruleset) {
        let name = format!("{} {} {}", chain.family, chain.table, chain.name);
        findings.push(if mentions(&ruleset, chain, bridges) {
            Finding::good(Part::Firewall, name, "it drops what nobody allows, and has rules for our bridges")
        } else {
            let what = "it drops what nobody allows, and has no rule for our bridges";
            Finding::wrong(Part::Firewall, name, what, mend(chain, bridges))
        });
    }
    Ok(findings)
}

/// The base chains of others, for what is forwarded and for what comes in, that drop what nobody allows.
fn closed(ruleset: &Ruleset) -> Vec<&Chain> {
    let is_closed = |chain: &&Chain| {
        chain.table != TABLE
            && !is_of_iptables(chain)
            && matches!(chain.family.as_str(), "inet" | "ip" | "ip6")
            && matches!(chain.hook.as_deref(), Some("forward" | "input"))
            && chain.kind.as_deref() == Some("filter")
            && (chain.policy.as_deref() == Some("drop") || ends(ruleset, chain, 0))
    };
    ruleset.chains.iter().filter(is_closed).collect()
}

/// Whether a chain has a rule that drops every packet that comes to it, itself or in a chain that it leads to.
fn ends(ruleset: &Ruleset, chain: &Chain, depth: usize) -> bool {
    chain.rules.iter().any(|rule| {
        // Counting and logging decide nothing.
        let mut deciding = rule
            .statements
            .iter()
            .filter(|statement| !["counter", "log"].iter().any(|quiet| statement.get(quiet).is_some()));
        let (Some(first), None) = (deciding.next(), deciding.next()) else { return false };
        if first.get("drop").is_some() || first.get("reject").is_some() {
            return true;
        }
        let target = first.get("jump").or_else(|| first.get("goto")).and_then(|jump| jump["target"].as_str());
        let led_to = ruleset.chains.iter().find(|other| {
            other.family == chain.family && other.table == chain.table && Some(other.name.as_str()) == target
        });
        depth < 16 && led_to.is_some_and(|chain| ends(ruleset, chain, depth + 1))
    })
}

/// Whether a table of somebody else's has rules that name one of our bridges: then its owner knows of us.
fn mentions(ruleset: &Ruleset, of: &Chain, bridges: [&str; 2]) -> bool {
    fn names(value: &Value, bridges: [&str; 2]) -> bool {
        match value {
            Value::String(text) => bridges.contains(&text.as_str()),
            Value::Array(values) => values.iter().any(|value| names(value, bridges)),
            Value::Object(object) => object.values().any(|value| names(value, bridges)),
            _ => false,
        }
    }
    let theirs = ruleset.chains.iter().filter(|chain| chain.family == of.family && chain.table == of.table);
    theirs.flat_map(|chain| &chain.rules).any(|rule| rule.statements.iter().any(|one| names(one, bridges)))
}

fn mend(chain: &Chain, [hostonly, internet]: [&str; 2]) -> String {
    let is_input = chain.hook.as_deref() == Some("input");
    match chain.table.as_str() {
        "firewalld" => format!(
            "`firewall-cmd --permanent --zone=trusted --add-interface={hostonly} --add-interface={internet}`, \
             then `firewall-cmd --reload`"
        ),
        "nixos-fw" if is_input => {
            format!("`networking.firewall.trustedInterfaces = [ \"{hostonly}\" \"{internet}\" ]`")
        }
        "nixos-fw" => format!(
            "`networking.firewall.extraForwardRules` with `iifname \"{internet}\" accept` and `oifname \"{internet}\" accept`"
        ),
        _ if is_input => format!(
            "add `iifname {{ \"{hostonly}\", \"{internet}\" }} udp dport {{ 53, 67, 547 }} accept` to that chain, \
             where its owner keeps it"
        ),
        _ => format!(
            "add `iifname \"{internet}\" accept` and `oifname {{ \"{hostonly}\", \"{internet}\" }} accept` to that \
             chain, where its owner keeps it (what is forbidden, our own table drops)"
        ),
    }
}

/// Whether somebody else translates addresses on this host.
pub(super) fn others_translate(host: &Host, cancel: &Cancel) -> Result<bool, Error> {
    let ruleset = ruleset(host, cancel)?;
    let in_nft = ruleset.chains.iter().filter(|chain| chain.table != TABLE).any(|chain| {
        chain.rules.iter().flat_map(|rule| &rule.statements).any(|statement| {
            ["masquerade", "snat", "dnat"].iter().any(|word| statement.get(word).is_some())
                || statement["xt"]["name"]
                    .as_str()
                    .is_some_and(|name| matches!(name, "MASQUERADE" | "SNAT" | "DNAT"))
        })
    });
    Ok(in_nft || legacy_has(false, "nat") || legacy_has(true, "nat"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::net::nft::Nft;
    use crate::net::testing::in_own_netns;

    const BRIDGES: [&str; 2] = ["brNC-hostonly", "brNC-internet"];

    fn there() -> Ruleset {
        Nft::new(Tool::new(Path::new("nft"), &Cancel::new())).ruleset().unwrap()
    }

    fn load(script: &str) {
        Nft::new(Tool::new(Path::new("nft"), &Cancel::new())).load(script).unwrap();
    }

    #[test]
    fn root_a_chain_that_drops_the_rest_is_found_until_it_knows_of_us() {
        in_own_netns(|| {
            load(
                "table inet firewalld {\n chain filter_FORWARD {\n type filter hook forward priority 10; policy accept;\n\
                 ct state established,related accept\n counter log jump rest\n }\n chain rest {\n ip saddr 1.2.3.4 drop\n \
                 reject with icmpx admin-prohibited\n }\n}\n\
                 table inet filter {\n chain input {\n type filter hook input priority 0; policy drop;\n }\n \
                 chain forward {\n type filter hook forward priority 0; policy accept;\n ip saddr 1.2.3.4 drop\n }\n}\n\
                 table ip filter {\n chain FORWARD {\n type filter hook forward priority 0; policy drop;\n }\n}\n\
                 table bridge b {\n chain f {\n type filter hook forward priority 0; policy drop;\n }\n}\n",
            );
            let ruleset = there();
            let found: Vec<&str> = closed(&ruleset).iter().map(|chain| chain.name.as_str()).collect();
            assert_eq!(found, ["filter_FORWARD", "input"]);
            assert!(!mentions(&ruleset, closed(&ruleset)[0], BRIDGES));
            assert!(mend(closed(&ruleset)[0], BRIDGES).contains("--zone=trusted"));
            load(
                "insert rule inet firewalld filter_FORWARD iifname { \"brNC-internet\", \"eth7\" } accept\n",
            );
            let ruleset = there();
            assert!(mentions(&ruleset, closed(&ruleset)[0], BRIDGES));
            assert!(!mentions(&ruleset, closed(&ruleset)[1], BRIDGES));
        });
    }

    #[test]
    fn the_sibling_of_a_path_is_beside_it() {
        assert_eq!(sibling("iptables"), "ip6tables");
        assert_eq!(sibling("/usr/sbin/iptables-nft"), "/usr/sbin/ip6tables-nft");
    }
}
