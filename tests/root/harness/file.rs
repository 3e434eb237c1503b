//! Container files, put together from parts.

use std::fmt::Write as _;

use super::Kind;

/// A container file whose guest has one service, `greeting`, that says which version it is.
#[derive(Clone)]
pub struct File {
    kind: Kind,
    version: String,
    keys: String,
    module: String,
}

impl File {
    pub fn new(kind: Kind) -> Self {
        Self { kind, version: "1".to_owned(), keys: String::new(), module: String::new() }
    }

    /// What the service says.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Lines beside `configuration`: `network.ip = "10.101.3.3";`
    pub fn keys(mut self, lines: &str) -> Self {
        writeln!(self.keys, "  {lines}").unwrap();
        self
    }

    /// Lines of the NixOS module: `standin.switchExit = 4;`
    pub fn module(mut self, lines: &str) -> Self {
        writeln!(self.module, "    {lines}").unwrap();
        self
    }

    /// One line of `lxcExtraConfig`.
    pub fn extra(self, line: &str) -> Self {
        self.keys(&format!("lxcExtraConfig = \"{line}\\n\";"))
    }

    /// The host name is the same in all labs, so that a system that was built once is built.
    pub fn text(&self) -> String {
        let Self { kind, version, keys, module } = self;
        format!(
            "{{\n{keys}  configuration = {{ pkgs, lib, ip, name, ... }}: {{\n\
             \x20   standin.guest = \"{kind}\";\n\
             \x20   networking.hostName = \"guest\";\n\
             \x20   systemd.services.greeting = {{\n\
             \x20     wantedBy = [ \"multi-user.target\" ];\n\
             \x20     script = ''\n\
             \x20       echo \"version {version} of $(hostname)\" >/run/greeting\n\
             \x20       exec sleep 100000\n\
             \x20     '';\n\
             \x20   }};\n\
             {module}  }};\n}}\n"
        )
    }
}
