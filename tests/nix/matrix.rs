//! `matrix.nix`: every combination evaluates, says nothing that it should not, and writes what the program reads.

use std::process::Command;

use libtest_mimic::Trial;
use nixcloud_container::config::Share;
use nixcloud_container::resources::{Bytes, Resources};
use nixcloud_container::{HostConfig, Keep};
use serde_json::{Value, json};

use super::tools::{Folder, Nix, RELEASES, root};

pub fn trials(folder: &Folder, nix: &Nix) -> Vec<Trial> {
    RELEASES
        .into_iter()
        .map(|release| {
            let (folder, nix) = (folder.clone(), nix.clone());
            Trial::test(format!("nix_matrix_of_{release}"), move || {
                let matrix = evaluate(&folder, &nix, release);
                holds(release, &matrix);
                configs_are_read(&folder, release, &matrix);
                Ok(())
            })
        })
        .collect()
}

/// The matrix on one release.
pub fn evaluate(folder: &Folder, nix: &Nix, release: &str) -> Value {
    let root = root();
    let arguments = ["--argstr", "root", root.to_str().unwrap()];
    nix.json(&folder.standin(release), &root.join("tests/nix/matrix.nix"), &arguments)
}

fn holds(release: &str, matrix: &Value) {
    let of = |key: &str| matrix[key].as_object().unwrap().clone();
    let drvs = of("drvs");
    assert!(drvs.len() >= 28, "{release}: {} derivations only", drvs.len());
    for (case, drv) in &drvs {
        assert!(drv.as_str().unwrap().ends_with(".drv"), "{release} {case}: {drv}");
    }
    for (case, complaints) in of("complaints") {
        assert_eq!(complaints, json!([]), "{release} {case}");
    }
    // Old names work and are said to be old; nothing else is warned of.
    for (case, warnings) in of("warnings") {
        let said = warnings.as_array().unwrap();
        assert_eq!(said.len(), if case.ends_with("-old") { 4 } else { 0 }, "{release} {case}: {said:?}");
    }
    for (firewall, ip) in [("iptables", "v4"), ("iptables", "v6"), ("nftables", "v4"), ("nftables", "v6")] {
        let [old, new] = ["old", "new"].map(|names| &matrix["configs"][format!("{firewall}-{ip}-{names}")]);
        assert_eq!(old, new, "{release} {firewall} {ip}: old and new names give another configuration");
    }
    for (case, facts) in of("facts") {
        facts_hold(release, &case, &facts);
    }
    units_are_the_shipped_ones(release, &matrix["facts"]["plain"]);
    for (mistake, said) in of("mistakes") {
        assert!(!said.as_array().unwrap().is_empty(), "{release}: the mistake `{mistake}` was accepted");
    }
    let merged = &matrix["merged"];
    let ports: Vec<u64> = merged["network"]["forwards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|forward| forward["hostPort"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, [8080, 8443, 8444], "{release}: {merged}");
    assert_eq!(
        merged["autostart"],
        json!({ "enable": true, "order": 5, "delay": 0, "after": [] }),
        "{release}"
    );
    assert_eq!(merged["network"]["enableNat"], json!(false), "{release}");
    assert_eq!(merged["network"]["ip"], json!("10.101.3.3"), "{release}");
    assert_eq!(merged["network"]["bridge"], Value::Null, "{release}");
    assert_eq!(merged["lxcExtraConfig"].as_str().unwrap().lines().count(), 2, "{release}");
    let resources = &merged["resources"];
    assert_eq!(
        (&resources["memory"], &resources["cpus"]),
        (&json!(256 << 20), &json!(500)),
        "{release}: {resources}"
    );
    assert_eq!(resources["io"]["/dev/sda"]["readBytes"], json!(1 << 20), "{release}: {resources}");
    assert_eq!(resources["hugepages"], json!({ "2MB": 4 << 20 }), "{release}");
    assert_eq!(merged["features"]["nesting"], json!(true), "{release}");
    let device = |group, mode: Value| json!({ "owner": 0, "group": group, "mode": mode, "path": null, "required": true });
    let devices = json!({ "/dev/net/tun": device(0, Value::Null), "/dev/fuse": device(7, json!("0660")) });
    assert_eq!(merged["devices"], devices, "{release}");
    assert_eq!(matrix["smallest"], json!("10.55.0.2"), "{release}");
    // An address that follows from the name stays when other containers come and go.
    assert_eq!(matrix["stable"][0], matrix["stable"][1], "{release}");
}

fn facts_hold(release: &str, case: &str, facts: &Value) {
    assert_eq!(facts["forwarding"], json!(true), "{release} {case}");
    // A rebuild, a reload or a stop of these units stops no container; only the end of autostop, at shutdown, does.
    let stops = json!({ "network": false, "apply": false, "autostart": false, "autostop": true });
    assert_eq!(facts["stops"], stops, "{release} {case}");
    let limit = if case == "everything" { "120" } else { "180" };
    let autostop = json!({ "restartIfChanged": false, "stopIfChanged": false, "limit": limit });
    assert_eq!(facts["autostop"], autostop, "{release} {case}");
    // Generations go by a timer only where somebody said which ones stay.
    let gc = if case == "everything" { json!(["weekly", ["gc --all"]]) } else { Value::Null };
    assert_eq!(facts["gc"], gc, "{release} {case}");
    // What is declared no more stays, unless it was ephemeral or the host says otherwise.
    let prunes = facts["apply"][0].as_str().unwrap().ends_with(" --prune --yes");
    assert_eq!(prunes, case == "everything", "{release} {case}");
    assert_eq!(facts["network"]["reloadIfChanged"], json!(false), "{release} {case}");
    assert_eq!(facts["autostart"]["stopIfChanged"], json!(false), "{release} {case}");
    // What undoes our part, by a start, a restart or a reload, has it done again afterwards.
    let network = &facts["network"];
    for undo in ["firewall.service", "nftables.service", "systemd-sysctl.service"] {
        for relation in ["wantedBy", "after", "partOf"] {
            let units = network[relation].as_array().unwrap();
            assert!(units.contains(&json!(undo)), "{release} {case}: {relation} of {undo}: {units:?}");
        }
        assert!(network["propagated"].as_str().unwrap().contains(undo), "{release} {case}: {undo}");
    }
    for (unit, mounts) in facts["mounts"].as_object().unwrap() {
        assert_eq!(mounts, "/var/lib/lxc /var/lib/nixcloud", "{release} {case} {unit}");
    }
    // As many as `host up` keeps, so that it has nothing to add: all of the pool, or the first of one that has no end.
    let ids = match case {
        "networkd" => u64::from(u32::MAX) - 4_294_000_000,
        "everything" => 4096 * 65_536,
        _ => (524_288 - 100_000) + 4094 * 65_536,
    };
    assert_eq!(facts["subids"]["counts"], json!([ids, ids]), "{release} {case}");
    assert_eq!(facts["subids"]["users"], facts["subids"]["groups"], "{release} {case}");
    let unmanaged = json!({ "Unmanaged": true });
    let networkd = facts["networkd"]["linkConfig"] == unmanaged;
    assert_eq!(networkd, case == "networkd", "{release} {case}: {}", facts["networkd"]);
    assert!(facts["worker"].as_str().unwrap().ends_with("/libexec/nixcloud-container-worker"), "{facts}");
    assert_eq!(facts["delegate"], json!([true, true]), "{release} {case}");
    assert_eq!(facts["lxcfs"], json!(case != "everything"), "{release} {case}");
    if !case.contains("tables") {
        return;
    }
    let bridge = "brNC-internet";
    let commands = facts["commands"].as_str().unwrap();
    if release == "18.03" {
        assert_eq!(facts["open"], json!({}), "{case}");
        assert_eq!(commands.contains(bridge), case.starts_with("iptables"), "{case}: {commands}");
    } else {
        assert_eq!(facts["open"][bridge]["allowedUDPPorts"], json!([53, 67, 547]), "{release} {case}");
        assert_eq!(commands, "", "{release} {case}");
    }
    let forward = facts["forward"].as_str().unwrap();
    assert_eq!(
        forward.contains(bridge),
        release == "24.11" && case.starts_with("nftables"),
        "{release} {case}"
    );
}

/// The units of the module do what those of `make install` do: as far as both say something, they say the same.
fn units_are_the_shipped_ones(release: &str, facts: &Value) {
    for (unit, module) in facts["shipped"].as_object().unwrap() {
        let file = root().join(format!("systemd/nixcloud-container-{unit}.service"));
        let text = std::fs::read_to_string(file).unwrap();
        let shipped = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let mut compared = 0;
        for (key, value) in module.as_object().unwrap() {
            let said = match value {
                Value::Null => None,
                Value::Bool(value) => Some(if *value { "yes" } else { "no" }),
                value => value.as_str(),
            };
            let expected = shipped(key).map(|value| value.trim_start_matches("/usr/bin/nixcloud-container "));
            if key.starts_with("Exec") || expected.is_some() {
                assert_eq!(said, expected, "{release}: {key} of {unit}");
                compared += 1;
            }
        }
        assert!(compared >= 5, "{unit}: {compared} only");
    }
}

/// The library reads each config.toml, and the program itself lists with it.
fn configs_are_read(folder: &Folder, release: &str, matrix: &Value) {
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("nixcloud-container");
    assert!(program.is_file(), "{} is not built: `cargo build -p nixcloud-container-cli`", program.display());
    for (case, text) in matrix["configs"].as_object().unwrap() {
        let text = text.as_str().unwrap();
        let config =
            HostConfig::from_toml(text).unwrap_or_else(|error| panic!("{release} {case}: {error}\n{text}"));
        assert_eq!(config.network.isolation, case != "everything", "{release} {case}");
        assert_eq!(config.network.internet.ipv6.is_some(), case.contains("-v6-") || case == "example-host");
        // By a path that stays when the host is upgraded, and programs by those of the store.
        let worker = std::path::Path::new("/etc/nixcloud-container/worker");
        assert_eq!(config.worker.as_deref(), Some(worker), "{release} {case}");
        let tools = &config.tools;
        for tool in [&tools.dnsmasq, &tools.iptables, &tools.resolvectl, &tools.systemctl] {
            assert!(tool.starts_with("/nix/store"), "{release} {case}: {}", tool.display());
        }
        assert_eq!(tools.nft.starts_with("/nix/store"), case != "everything", "{release} {case}");
        limits_are_what_the_options_say(case == "everything", &config);
        let keep = Keep::new().with_newest(5_u32).with_good(2_u32);
        assert_eq!(
            config.generations,
            if case == "everything" { keep } else { Keep::new() },
            "{release} {case}"
        );
        assert_eq!(config.autostart.parallel, if case == "everything" { 3 } else { 0 }, "{release} {case}");
        // Another root keeps off this machine's containers.
        let file = folder.path(&format!("{release}-{case}.toml"));
        std::fs::write(&file, format!("root = \"{}\"\n{text}", folder.path("root").display())).unwrap();
        let output = Command::new(&program).arg("--config").arg(&file).arg("list").output().unwrap();
        let said = super::tools::succeeded(&format!("{release} {case}: list"), &output);
        assert_eq!(said, "", "{release} {case}");
    }
    // What is declared: a built generation each, and an address that is kept for it.
    let declared = &matrix["declared"]["iptables-v4-new"];
    assert_eq!(declared["schema"], json!(1));
    for (name, ephemeral) in [("web", false), ("db", true)] {
        let container = &declared["containers"][name];
        assert_eq!(container["ephemeral"], json!(ephemeral), "{container}");
        let out = container["out"].as_str().unwrap();
        assert!(
            out.starts_with("/nix/store/") && out.ends_with(&format!("-nixcloud-container-{name}")),
            "{out}"
        );
    }
    let config = HostConfig::from_toml(matrix["configs"]["iptables-v4-new"].as_str().unwrap()).unwrap();
    let reserved: Vec<_> = config.network.reserved.iter().map(|(name, ip)| format!("{name} {ip}")).collect();
    assert_eq!(reserved[0], "db 10.101.3.3");
    assert!(reserved[1].starts_with("web 10.101."), "{reserved:?}");
}

fn limits_are_what_the_options_say(all: bool, config: &HostConfig) {
    let limits = &config.limits;
    if !all {
        assert_eq!(limits, &HostConfig::default().limits);
        return;
    }
    // `settings` have the last word.
    assert_eq!(limits.pids, 100);
    let granted =
        limits.grant(&Resources::default(), &|_| false, Share::new().with_processes(1000_u32)).resources;
    assert_eq!((granted.memory, granted.cpus), (Some(2 << 30), Some(1500)));
    assert_eq!((limits.ceilings.memory, &limits.defaults.cpuset), (Some(Bytes(8 << 30)), &None));
    assert_eq!(granted.io["/dev/sda"].read_bytes, Some(10 << 20));
    assert_eq!(granted.hugepages["2MB"], 4 << 20);
    assert_eq!((limits.reserve.leaves(8 << 30), limits.share), (Some(7 << 30), 60));
}
