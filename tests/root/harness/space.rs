//! Other network namespaces of a scenario: one that plays the internet, those of guests; and who talks to whom.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

/// How long an answer may take; what is dropped takes as long.
const PATIENCE: Duration = Duration::from_millis(700);
/// The port of [`Echo`].
pub const PORT: u16 = 7;

/// A network namespace. It lives as long as this, or a process in it.
pub struct Space(File);

impl Space {
    /// The scenario's own: its host.
    pub fn here() -> Self {
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// That of a process.
    pub fn of(pid: i32) -> Self {
        Self(File::open(format!("/proc/{pid}/ns/net")).unwrap())
    }

    /// A new one, joined to this thread's by a pair of interfaces: `inside` in it, `outside` here.
    pub fn new(outside: &str, inside: &str) -> Self {
        let space = thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                Self::here()
            });
            made.join().unwrap()
        });
        space.ip("link set lo up");
        // Made inside, with its other end sent here.
        let here = Self::here();
        let number = std::os::fd::AsRawFd::as_raw_fd(&here.0);
        let pid = std::process::id();
        space.ip(&format!("link add {inside} type veth peer name {outside} netns /proc/{pid}/fd/{number}"));
        space.ip(&format!("link set {inside} up"));
        ip(&format!("link set {outside} up"));
        space
    }

    /// Runs `body` in it.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs iproute2 in it.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        self.run(|| ip(arguments))
    }

    /// Whom a service at `to` sees asking from here by TCP; `None` where no answer comes.
    pub fn tcp(&self, to: &str) -> Option<String> {
        self.run(|| ask_tcp(to).ok())
    }

    /// Whether somebody accepts there.
    pub fn connects(&self, to: &str) -> bool {
        self.run(|| TcpStream::connect_timeout(&to.parse().unwrap(), PATIENCE).is_ok())
    }

    /// The same by UDP.
    pub fn udp(&self, to: &str) -> Option<String> {
        self.run(|| ask_udp("[::]:0", to).or_else(|_| ask_udp("0.0.0.0:0", to)).ok())
    }

    /// The same by UDP, from an address of ours.
    pub fn udp_from(&self, from: &str, to: &str) -> Option<String> {
        self.run(|| ask_udp(&format!("{from}:0"), to).ok())
    }
}

/// Runs iproute2 here.
#[track_caller]
pub fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

/// Runs a program with words that are split at blanks, and returns what it prints.
#[track_caller]
pub fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn ask_tcp(to: &str) -> io::Result<String> {
    let to: SocketAddr = to.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn ask_udp(from: &str, to: &str) -> io::Result<String> {
    let to: SocketAddr = to.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"?")?;
    let mut bytes = [0; 64];
    let length = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// A service in a namespace, on one port by TCP and UDP, that tells who asks. It lets go of the namespace when dropped.
pub struct Echo {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    pub fn start(space: &Space, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (tcp, udp) = space.run(|| {
            let any = format!("[::]:{port}");
            (TcpListener::bind(&any).unwrap(), UdpSocket::bind(&any).unwrap())
        });
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        let repeat = |mut turn: Box<dyn FnMut() + Send>| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    turn();
                    thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let accept = move || {
            if let Ok((mut stream, from)) = tcp.accept() {
                let _ = stream.write_all(seen(from.ip()).as_bytes());
            }
        };
        let answer = move || {
            let mut bytes = [0; 64];
            if let Ok((_, from)) = udp.recv_from(&mut bytes) {
                let _ = udp.send_to(seen(from.ip()).as_bytes(), from);
            }
        };
        let threads = vec![repeat(Box::new(accept)), repeat(Box::new(answer))];
        Self { stop, threads }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn seen(address: IpAddr) -> String {
    address.to_canonical().to_string()
}
