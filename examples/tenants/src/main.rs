//! A web service with a container for each of its tenants: HTTP in front, containers behind.
//!
//! ```text
//! tenants CONFIG.toml TEMPLATE.nix SOCKET
//!
//! GET    /tenants             their names and states
//! PUT    /tenants/NAME        made of TEMPLATE.nix and started; of a changed TEMPLATE.nix: updated
//! GET    /tenants/NAME        state, addresses, generation
//! POST   /tenants/NAME/run    the body is a script for its shell: exit, stdout, stderr
//! DELETE /tenants/NAME        gone, with its data
//! ```
//!
//! Run as root. Whoever can open SOCKET has what root has over those containers, so that it is made for root alone; a server for
//! the world goes in front of it. What the library refuses is answered with a status of HTTP, and its words.

use std::error::Error as _;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nixcloud_container::{
    Container, ContainerName, CreateRequest, DestroyRequest, Error, ErrorKind, Exit, HostConfig, Listed,
    Manager, Status, UpdateRequest,
};
use serde_json::{Value, json};
use tiny_http::{Header, Method, Request, Response, Server};

/// How many requests are answered at once: a build takes its time, and others want to see their state meanwhile.
const THREADS: usize = 8;

/// How long a script of a tenant's may take, and how much of what it says is kept.
const SCRIPT: Duration = Duration::from_secs(60);
const SAID: usize = 1 << 20;

/// The largest script.
const BODY: u64 = 1 << 16;

fn main() -> ExitCode {
    // First of all, before any thread.
    nixcloud_container::worker::init();

    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [config, template, socket] = arguments.as_slice() else {
        eprintln!("usage: tenants CONFIG.toml TEMPLATE.nix SOCKET");
        return ExitCode::from(2);
    };
    match serve(config, template, socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenants: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(
    config: &Path,
    template: &Path,
    socket: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let manager = Manager::open(HostConfig::load(Some(config))?)?;
    manager.host_up()?;
    let tenants = Tenants { manager, template: template.canonicalize()? };
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let server = Server::http_unix(socket)?;
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600))?;
    println!("listening at {}", socket.display());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            // A handle of the library may be used by many threads: operations on one container wait for one another.
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    tenants.answer(request);
                }
            });
        }
    });
    Ok(())
}

/// What an answer is made of: a status of HTTP, and a document.
type Answer = (u16, Value);

/// Why there is none.
enum Refused {
    /// There is no such tenant.
    NoTenant,
    /// That cannot be a name.
    NoName(String),
    /// The library's words.
    Library(Box<Error>),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Library(Box::new(error))
    }
}

struct Tenants {
    manager: Manager,
    template: PathBuf,
}

impl Tenants {
    fn answer(&self, mut request: Request) {
        let (status, document) = self.ask(&mut request).unwrap_or_else(|refused| refused.told());
        let json = Header::from_bytes("Content-Type", "application/json").expect("a header of plain letters");
        let text = if status == 204 { String::new() } else { format!("{document}\n") };
        // Who has gone away by now is told nothing.
        let _ = request.respond(Response::from_string(text).with_status_code(status).with_header(json));
    }

    fn ask(&self, request: &mut Request) -> Result<Answer, Refused> {
        let path = request.url().to_owned();
        let words: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method(), words.as_slice()) {
            (Method::Get, ["tenants"]) => self.list(),
            (Method::Put, ["tenants", name]) => self.put(name),
            (Method::Get, ["tenants", name]) => Ok((200, shown(&self.tenant(name)?)?)),
            (Method::Post, ["tenants", name, "run"]) => {
                let tenant = self.tenant(name)?;
                let mut script = String::new();
                if request.as_reader().take(BODY + 1).read_to_string(&mut script).is_err() {
                    return Ok((400, json!({ "error": "the script is no text" })));
                }
                if script.len() as u64 > BODY {
                    return Ok((413, json!({ "error": format!("a script has {BODY} bytes at most") })));
                }
                run(&tenant, &script)
            }
            (Method::Delete, ["tenants", name]) => {
                self.tenant(name)?.destroy(DestroyRequest::new().with_force(true))?;
                Ok((204, Value::Null))
            }
            (_, ["tenants" | "tenants/", ..]) => Ok((405, json!({ "error": "not that way" }))),
            _ => Ok((404, json!({ "error": "there are /tenants and /tenants/NAME" }))),
        }
    }

    /// The container of a tenant. Other containers of this host are nobody's business here.
    fn tenant(&self, name: &str) -> Result<Container, Refused> {
        let container = self.manager.container(parsed(name)?);
        if self.is_ours(&container.status()?) { Ok(container) } else { Err(Refused::NoTenant) }
    }

    fn is_ours(&self, status: &Status) -> bool {
        status.file == self.template
    }

    fn list(&self) -> Result<Answer, Refused> {
        let listed = self.manager.list()?;
        let ours = listed.iter().filter_map(|listed| match listed {
            Listed::Container(status) if self.is_ours(status) => {
                Some(json!({ "name": status.name, "state": status.state }))
            }
            _ => None,
        });
        Ok((200, ours.collect()))
    }

    fn put(&self, name: &str) -> Result<Answer, Refused> {
        let container = self.manager.container(parsed(name)?);
        let status = match container.create(&CreateRequest::new(&self.template), &mut ()) {
            Ok(_) => 201,
            Err(Error::Exists { .. }) => {
                self.tenant(name)?.update(&UpdateRequest::new(&self.template), &mut ())?;
                200
            }
            Err(error) => return Err(error.into()),
        };
        container.start(&mut ())?;
        Ok((status, shown(&container)?))
    }
}

fn parsed(name: &str) -> Result<ContainerName, Refused> {
    name.parse().map_err(|error: nixcloud_container::name::NameError| Refused::NoName(error.to_string()))
}

fn shown(tenant: &Container) -> Result<Value, Error> {
    let status = tenant.status()?;
    let addresses: Vec<String> = status.address.iter().map(ToString::to_string).collect();
    Ok(json!({
        "name": status.name,
        "state": status.state,
        "addresses": addresses,
        "generation": status.generation,
    }))
}

fn run(tenant: &Container, script: &str) -> Result<Answer, Refused> {
    let output =
        tenant.command("/bin/sh").args(["-s"]).stdin(script).timeout(SCRIPT).capture_limit(SAID).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((
        200,
        json!({
            "exit": output.exit.shell_code(),
            "timed_out": output.exit == Exit::TimedOut,
            "stdout": text(&output.stdout),
            "stderr": text(&output.stderr),
            "truncated": output.stdout.truncated || output.stderr.truncated,
        }),
    ))
}

impl Refused {
    /// What went wrong, as a status of HTTP, and in words.
    fn told(&self) -> Answer {
        let error = match self {
            Self::NoTenant => return (404, json!({ "error": "there is no such tenant" })),
            Self::NoName(why) => return (400, json!({ "error": why })),
            Self::Library(error) => error,
        };
        let status = match error.kind() {
            ErrorKind::NotFound => 404,
            ErrorKind::Exists | ErrorKind::Refused => 409,
            ErrorKind::Busy | ErrorKind::Cancelled => 503,
            ErrorKind::Timeout => 504,
            // The template, the host, LXC: nothing that whoever asked can mend.
            _ => 500,
        };
        let mut because = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            because.push(cause.to_string());
            source = cause.source();
        }
        let hint = error.hint().map(|hint| hint.to_string());
        (status, json!({ "error": error.to_string(), "because": because, "hint": hint }))
    }
}
