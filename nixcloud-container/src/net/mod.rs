//! Network drivers: interfaces, addresses and bridges over netlink, blocking and without tools. They import
//! its vocabulary alone.
//!
//! A [`Netlink`] socket belongs to the network namespace of the thread that opened it, for its whole life; `/sys`
//! and `/proc/net` may show another one, and are not read here.
//!
//! | module | owns |
//! |---|---|
//! | [`socket`] | requests and answers: acknowledgement, dumps, time limit |
//! | [`link`] | interfaces |
//! | [`addr`] | addresses of interfaces |
//! | [`bridge`] | the host's bridges: made, completed, removed, only if ours |
//! | [`listen`] | the ports that programs listen on |
//! | [`filter`] | programs that judge the frames of a port |
//! | [`tc`] | programs at interfaces |
//! | [`neighbour`] | which MAC address the host takes an address to have |
//! | [`bridge_port`] | a container's port of a bridge: set, and looked at |
//! | [`route`] | routes that lead elsewhere |
//! | [`netns`] | which network namespace, and the addresses inside a guest's |

pub mod addr;
pub mod bridge;
pub mod bridge_port;
pub mod filter;
pub mod link;
pub mod listen;
pub mod neighbour;
pub mod netns;
pub mod nft;
pub mod route;
pub mod socket;
pub mod sysctl;
pub mod tc;

pub use link::{GROUPS, Link};
pub use socket::{Error, Netlink};

#[cfg(test)]
pub(crate) mod testing {
    //! Network namespaces for tests.

    use ::nix::sched::{CloneFlags, unshare};

    /// Runs `body` in a thread with an empty network namespace of its own. Only that thread is in it: `/sys` and
    /// `/proc/net` still show the test's.
    pub(crate) fn in_own_netns<T: Send>(body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs iproute2 in the namespace of the calling thread: a second opinion on what is there.
    pub(crate) fn ip(args: &str) -> String {
        let output = std::process::Command::new("ip").args(args.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
