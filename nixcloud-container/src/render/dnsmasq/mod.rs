//! What dnsmasq is told: its configuration, the names of containers, their DHCP leases. Pure functions, golden-tested.
//!
//! There are three of them, since one dnsmasq answers everybody alike and each asker may know other names:
//!
//! | resolver | listens on | answers |
//! |---|---|---|
//! | [`Hostonly`](Resolver::Hostonly) | the host-only bridge | names of containers there, nothing else |
//! | [`Internet`](Resolver::Internet) | the bridge that leads out | names of containers there, all else by the host's own name servers; DHCP, router advertisements |
//! | [`Host`](Resolver::Host) | a loopback address | names of all containers, nothing else |
//!
//! An isolated container reaches the host alone and is reached by the host alone: its name is told to the host only.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnetwork::Ipv6Network;

use crate::model::config::{HostConfig, InternetConfig, Ipv6Config};
use crate::model::interface::{InterfaceId, Slot};
use crate::model::layout::Layout;
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::spec::ContainerSpec;

/// The domain of the containers' names.
pub const DOMAIN: &str = "containers";

/// The name by which guests know the host, and the host itself.
const HOST: &str = "host";

/// The whole name, by which each resolver knows the host.
pub const HOST_NAME: &str = "host.containers";

/// Where the host's own resolver listens: a loopback address that nobody else has by default.
pub const HOST_RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 101);

/// How long a guest may use its address before it asks again. It gets the same one for its life, so this only says how
/// soon it notices another name server.
const LEASE: &str = "1h";

/// One dnsmasq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolver {
    /// For guests, on the host-only bridge.
    Hostonly,
    /// For guests, on the bridge that leads out.
    Internet,
    /// For the host.
    Host,
}

impl Resolver {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hostonly, Self::Internet, Self::Host];

    /// Its name: that of its files and of its systemd unit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hostonly => "hostonly",
            Self::Internet => "internet",
            Self::Host => "host",
        }
    }

    /// The address that it answers on.
    #[must_use]
    pub fn address(self, config: &HostConfig) -> Ipv4Addr {
        match self {
            Self::Hostonly => config.network.hostonly.address.ip(),
            Self::Internet => config.network.internet.address.ip(),
            Self::Host => HOST_RESOLVER,
        }
    }
}

impl std::fmt::Display for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The configuration file of one.
#[must_use]
pub fn config(resolver: Resolver, config: &HostConfig, layout: &Layout) -> String {
    let mut text = String::from("# Written by nixcloud-container at `host up`.\n");
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    // It starts as root for the ports below 1024 only.
    line("user=nobody");
    line(&format!("pid-file={}", layout.resolver_pid(resolver.as_str()).display()));
    match resolver {
        Resolver::Hostonly => on_bridge(&mut line, &config.network.hostonly.bridge),
        Resolver::Internet => on_bridge(&mut line, &config.network.internet.bridge),
        Resolver::Host => {
            line(&format!("listen-address={HOST_RESOLVER}"));
            line("bind-interfaces");
        }
    }
    line("# Names of containers are ours alone; no question for one leaves this host.");
    line("no-hosts");
    line(&format!("local=/{DOMAIN}/"));
    line(&format!("addn-hosts={}", layout.resolver_names(resolver.as_str()).display()));
    let six = config.network.internet.ipv6.as_ref().filter(|_| resolver == Resolver::Internet);
    let six = six.map(|ipv6| format!(",{}", ipv6.address.ip())).unwrap_or_default();
    line(&format!("host-record={HOST}.{DOMAIN},{}{six}", host_address(resolver, config)));
    if resolver == Resolver::Internet {
        line("# All else is asked of the name servers that the host asks itself, whatever they are by then.");
        line("resolv-file=/etc/resolv.conf");
        line("domain-needed");
        dhcp(&mut line, &config.network.internet, layout);
    } else {
        // Without a server to ask, every other question is refused.
        line("no-resolv");
    }
    if resolver == Resolver::Hostonly {
        // Of a bare name it knows all there is: who asks for the other kind of address is not refused, or would ask elsewhere.
        line("local=//");
    }
    text
}

/// By which address it is known to those who ask a resolver.
fn host_address(resolver: Resolver, config: &HostConfig) -> Ipv4Addr {
    match resolver {
        Resolver::Host => config.network.hostonly.address.ip(),
        other => other.address(config),
    }
}

/// `bind-dynamic`: an address that comes later is served too, and no port is taken that another dnsmasq of the host
/// may have on other addresses.
fn on_bridge(line: &mut dyn FnMut(&str), bridge: &InterfaceName) {
    line(&format!("interface={bridge}"));
    line("except-interface=lo");
    line("bind-dynamic");
}

fn dhcp(line: &mut dyn FnMut(&str), internet: &InternetConfig, layout: &Layout) {
    let (network, mask, host) = (internet.address.network(), internet.address.mask(), internet.address.ip());
    line("# Each container has an address of its own; whoever is none gets nothing.");
    line(&format!("dhcp-range={network},static,{mask},{LEASE}"));
    line(&format!("dhcp-hostsfile={}", layout.resolver_leases().display()));
    line(&format!("dhcp-optsfile={}", options(layout).display()));
    line("dhcp-ignore=tag:!known");
    // A guest must not give itself the name of another.
    line("dhcp-ignore-names");
    line("dhcp-authoritative");
    line("no-ping");
    line("leasefile-ro");
    line("dhcp-lease-max=65536");
    line(&format!("dhcp-option=option:router,{host}"));
    line(&format!("dhcp-option=option:dns-server,{host}"));
    line("# So that NAME is looked for as NAME.containers, too.");
    line(&format!("dhcp-option=option:domain-search,{DOMAIN}"));
    line("quiet-dhcp");
    if let Some(ipv6) = &internet.ipv6 {
        dhcp6(line, ipv6, host);
    }
}

/// Router advertisements with the managed flag and without autonomous addresses: a guest has the one that we know.
fn dhcp6(line: &mut dyn FnMut(&str), ipv6: &Ipv6Config, host: Ipv4Addr) {
    // dnsmasq knows none that are shorter. Addresses of containers are at the beginning of the prefix.
    let length = ipv6.address.prefix().max(64);
    let network =
        Ipv6Network::new(ipv6.address.network(), length).map_or(ipv6.address.network(), |all| all.network());
    line("# IPv6 likewise.");
    line("enable-ra");
    line(&format!("dhcp-range={network},static,{length},{LEASE}"));
    let servers = if ipv6.name_servers.is_empty() { &[ipv6.address.ip()][..] } else { &ipv6.name_servers };
    let servers: Vec<String> = servers.iter().map(|server| format!("[{server}]")).collect();
    line(&format!("dhcp-option=option6:dns-server,{}", servers.join(",")));
    // Without a lease file it would be another server after each restart, and clients would not renew.
    let [a, b, c, d] = host.octets();
    line(&format!("dhcp-duid=0,4e:43:{a:02x}:{b:02x}:{c:02x}:{d:02x}"));
    line("quiet-dhcp6");
    line("quiet-ra");
}

/// What of a container its names and leases are made of.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a ContainerName,
    /// The spec of its current generation.
    pub spec: &'a ContainerSpec,
    /// Its address on the bridge that leads out.
    pub internet: Option<Ipv4Addr>,
    /// What its MAC addresses are made of.
    pub interface: InterfaceId,
}

impl Entry<'_> {
    fn internet(&self) -> Option<Ipv4Addr> {
        self.internet.filter(|_| self.spec.network.enable_nat)
    }

    fn hostonly(&self) -> impl Iterator<Item = IpAddr> {
        let (four, six) = (self.spec.effective.ip, self.spec.network.ip6);
        four.map(IpAddr::from).into_iter().chain(six.map(IpAddr::from))
    }

    fn outward(&self, config: &HostConfig) -> impl Iterator<Item = IpAddr> {
        let four = self.internet();
        let six = four.and_then(|four| config.network.internet.ipv6_of(four));
        four.map(IpAddr::from).into_iter().chain(six.map(IpAddr::from))
    }

    /// The addresses that a resolver tells; none where it does not tell of this container.
    fn addresses(&self, resolver: Resolver, config: &HostConfig) -> Vec<IpAddr> {
        // One that an older version has made.
        if self.name.is_the_hosts() {
            return Vec::new();
        }
        let open = !self.spec.network.isolated;
        match resolver {
            // On a bridge of its own it is not reached from the standard one.
            Resolver::Hostonly
                if open && crate::render::bridge(self.spec, config) == &config.network.hostonly.bridge =>
            {
                self.hostonly().collect()
            }
            Resolver::Internet if open => self.outward(config).collect(),
            Resolver::Hostonly | Resolver::Internet => Vec::new(),
            Resolver::Host => {
                // One of each family: two would be tried in turn, and one of them leads through a bridge more.
                let all: Vec<IpAddr> = self.hostonly().chain(self.outward(config)).collect();
                let four = all.iter().find(|address| address.is_ipv4());
                let six = all.iter().find(|address| address.is_ipv6());
                four.into_iter().chain(six).copied().collect()
            }
        }
    }

    /// Its lines for a resolver, as in `/etc/hosts`; `None` where it has none.
    #[must_use]
    pub fn names(&self, resolver: Resolver, config: &HostConfig) -> Option<String> {
        let addresses = self.addresses(resolver, config);
        let text = addresses.iter().fold(String::new(), |mut text, address| {
            let _ = write!(text, "{address} {}.{DOMAIN}", self.name);
            // Guests whose resolver has no search domain ask for the bare name. Elsewhere a server would refuse the other kind of
            // its address, which a client takes for a failure.
            if resolver == Resolver::Internet {
                let _ = write!(text, " {}", self.name);
            }
            text.push('\n');
            text
        });
        (!text.is_empty()).then_some(text)
    }

    /// Its line for DHCP; `None` where it has no interface that asks.
    #[must_use]
    pub fn lease(&self, config: &HostConfig) -> Option<String> {
        let four = self.internet()?;
        let six = config.network.internet.ipv6_of(four).map(|six| format!(",[{six}]")).unwrap_or_default();
        // Both of its MAC addresses: what changes whether it is isolated waits for a restart of a guest that runs.
        let [isolated, open] = [true, false].map(|isolated| self.interface.mac(Slot::Second, isolated));
        let tag = self.spec.network.mtu.map(|mtu| format!("set:mtu{mtu},")).unwrap_or_default();
        Some(format!("{isolated},{open},{tag}{four}{six}\n"))
    }

    /// What it is told by DHCP beside an address: else a client may set again what LXC has set.
    #[must_use]
    pub fn option(&self) -> Option<String> {
        let mtu = self.internet().and(self.spec.network.mtu)?;
        Some(format!("tag:mtu{mtu},option:mtu,{mtu}\n"))
    }
}

/// The folder of what single containers are told by DHCP beside an address.
#[must_use]
pub fn options(layout: &Layout) -> PathBuf {
    layout.resolvers().join("options")
}

/// The argument that names its configuration; ours are known by it.
#[must_use]
pub fn config_argument(config: &Path) -> OsString {
    let mut argument = OsString::from("--conf-file=");
    argument.push(config);
    argument
}

/// The systemd unit that runs one, whose name is the unit's instance.
#[must_use]
pub fn unit(program: &Path, layout: &Layout) -> String {
    let conf = config_argument(&layout.resolver_config("%i"));
    format!(
        "# Written by nixcloud-container at `host up`, removed at `host down`.\n\
         [Unit]\n\
         Description=Names and addresses of containers (%i)\n\
         StartLimitIntervalSec=0\n\
         # At shutdown guests keep their name server until they are down.\n\
         Before=nixcloud-container-autostop.service\n\
         \n\
         [Service]\n\
         ExecStart={} --keep-in-foreground {}\n\
         Restart=always\n\
         RestartSec=100ms\n\
         StandardError=truncate:{}\n\
         ProtectSystem=strict\n\
         ReadWritePaths={}\n\
         ProtectHome=yes\n\
         PrivateTmp=yes\n\
         PrivateDevices=yes\n\
         ProtectKernelTunables=yes\n\
         ProtectKernelModules=yes\n\
         ProtectControlGroups=yes\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         MemoryDenyWriteExecute=yes\n\
         NoNewPrivileges=yes\n\
         CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE\n\
         RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET\n",
        quoted(program),
        quoted(Path::new(&conf)),
        // Why it does not start, as our own supervisor keeps it.
        layout.resolver_log("%i").display(),
        quoted(&layout.resolvers()),
    )
}

/// A path as a word of a unit file. `%i`, which [`unit`] itself puts there, is meant as a specifier.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
