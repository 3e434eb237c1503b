//! What people really type wrong, and what they are told: each answer says what, why and how to go on.
//!
//! The transcripts are in `snapshots/`; `INSTA_UPDATE=always` writes them anew.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::harness::{Guest, Lab, scenarios};

scenarios! {
    once: [
        root_mistakes_with_names_and_states,
        root_mistakes_on_the_command_line,
        root_mistakes_in_container_files,
        root_mistakes_with_generations,
        root_mistakes_of_the_host,
    ],
    both: [],
}

/// What was typed and what was told, as it is on a page.
pub struct Transcript<'l> {
    lab: &'l Lab,
    text: String,
}

impl<'l> Transcript<'l> {
    pub fn new(lab: &'l Lab) -> Self {
        Self { lab, text: String::new() }
    }

    /// Types a line, in which `@web` is the lab's own `web`.
    pub fn types(&mut self, line: &str) {
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.lab.name(name).to_string(),
            None => word.to_owned(),
        });
        let command = self.lab.command(words);
        self.shows(line, command);
    }

    fn shows(&mut self, line: &str, mut command: Command) {
        command.current_dir(self.lab.path("/files"));
        let told = Lab::told(&mut command);
        writeln!(self.text, "# nixcloud-container {}", line.replace('@', "")).unwrap();
        self.text.push_str(&self.lab.plain(&told.stdout));
        self.text.push_str(&self.lab.plain(&told.stderr));
        writeln!(self.text, "[exit {}]\n", told.code).unwrap();
    }

    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.lab.path("/files").join(name), text).unwrap();
    }

    pub fn page(self, name: &str) {
        insta::with_settings!({
            prepend_module_to_snapshot => false,
            omit_expression => true,
            filters => vec![
                // As long as a name here, and what the machine and the time of day give.
                (r"/nix/store/[a-z0-9]{32}-", "/nix/store/HASH-"),
                // Another scenario may have built it already.
                (r"(?m)^(building|built) .*\n", ""),
                (r"process \d+", "process PID"),
                (r"ps -fp \d+", "ps -fp PID"),
                (r"nci-[0-9a-f]{8}", "nci-INTERFACE"),
                (r"\bin \d+\.\d s", "in N s"),
                (r"/[^\s':]*/tests/standin-\d+", "/nixpkgs"),
                (r"/[^\s':]*/standin-\d+", "/nixpkgs"),
            ],
        }, {
            insta::assert_snapshot!(name, self.text);
        });
    }
}

fn root_mistakes_with_names_and_states(lab: &Lab) {
    let web = lab.busybox("web");
    lab.file("web", &web.file());
    let mut page = Transcript::new(lab);
    page.types("start @web");
    page.types("create @web web.nix");
    page.types("create @web web.nix");
    page.types("run @web ls");
    page.types("login @web");
    page.types("freeze @web");
    page.types("unfreeze @web");
    page.types("start @web");
    web.await_version();
    page.types("start @web");
    page.types("destroy @web");
    page.types("run @web no-such-program --flag");
    page.types("run -u nobody-here @web id");
    page.types("run -w /no/such/folder @web pwd");
    page.types("run -t @web sh");
    page.types("terminate @web");
    page.types("stop @web");
    page.types("update @db");
    // A container of somebody else.
    fs::create_dir(lab.path("/var/lib/lxc/debian")).unwrap();
    fs::write(lab.path("/var/lib/lxc/debian/config"), "lxc.uts.name = debian\n").unwrap();
    page.types("start debian");
    page.types("destroy --force debian");
    page.types("create debian web.nix");
    fs::remove_dir_all(lab.path("/var/lib/lxc/debian")).unwrap();
    page.page("mistakes_with_names_and_states");
}

fn root_mistakes_on_the_command_line(lab: &Lab) {
    let mut page = Transcript::new(lab);
    page.types("strat web");
    page.types("logs web");
    page.types("rm web");
    page.types("top");
    page.types("exec web ls");
    page.types("start");
    page.types("start we!b");
    page.types("start ../../etc");
    page.types("create web");
    page.types("create -web web.nix");
    page.types("start web --now");
    page.types("stop web --timeout soon");
    page.types("run web");
    page.types("run -e NOVALUE web env");
    page.types("delete-generations web");
    page.types("delete-generations web young");
    page.types("delete-generations web old 3");
    page.types("switch-generation web latest");
    page.types("update web -n it's");
    page.types("list --watch=0");
    page.types("host");
    page.types("host upp");
    page.types("--config /no/such/file list");
    page.page("mistakes_on_the_command_line");
}

fn root_mistakes_in_container_files(lab: &Lab) {
    let mut page = Transcript::new(lab);
    let file = |web: &Guest<'_>, keys: &str| web.file().keys(keys).text();
    let web = lab.busybox("web");
    page.types("create @web none.nix");
    fs::create_dir(lab.path("/files/empty")).unwrap();
    page.types("create @web empty");
    page.file("broken.nix", "{ configuration = { services.nginx.enable = true };\n}\n");
    page.types("create @web broken.nix");
    page.file("key.nix", &file(&web, "netwrok.ip = \"10.101.0.9\";"));
    page.types("create @web key.nix");
    page.file("ip.nix", &file(&web, "network.ip = \"10.101.0\";"));
    page.types("create @web ip.nix");
    page.file("host.nix", &file(&web, "network.ip = \"10.101.0.1\";"));
    page.types("create @web host.nix");
    page.file("build.nix", &web.file().module("standin.buildFails = true;").text());
    page.types("create @web build.nix");
    page.file("idmap.nix", &web.file().extra("lxc.idmap =").text());
    page.types("create @web idmap.nix");
    page.file("lxc.nix", &web.file().extra("lxc.nonsense = 1").text());
    page.types("create @web lxc.nix");
    page.file("bridge.nix", &file(&web, "network.bridge = \"br7\";"));
    page.types("create @web bridge.nix");
    page.types("start @web");
    page.types("destroy @web");
    // Two that want one address.
    page.file("fixed.nix", &file(&web, "network.ip = \"10.101.3.3\";"));
    page.types("create @web fixed.nix");
    page.types("create @db fixed.nix");
    page.page("mistakes_in_container_files");
}

fn root_mistakes_with_generations(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mut page = Transcript::new(lab);
    page.types("rollback @web");
    page.types("switch-generation @web 7");
    page.types("delete-generations @web 1");
    page.types("delete-generations @web 5 6");
    lab.file(web.name().as_str(), &web.file().version("2").module("standin.switchExit = 2;"));
    page.types("update @web");
    lab.file(web.name().as_str(), &web.file().version("3").module("standin.switchExit = 100;"));
    page.types("update @web");
    page.types("list-generations @nope");
    page.page("mistakes_with_generations");
}

fn root_mistakes_of_the_host(lab: &Lab) {
    let web = lab.busybox("web");
    lab.file("web", &web.file());
    let mut page = Transcript::new(lab);
    let config = lab.config_file();
    let good = fs::read_to_string(&config).unwrap();

    // Not root.
    let mut command = lab.command(["list"]);
    command.uid(65534).gid(65534);
    page.shows("list   (as nobody)", command);

    fs::write(&config, format!("{good}\n[netwrok]\nbridge = \"x\"\n")).unwrap();
    page.types("list");
    fs::write(&config, "root = [\n").unwrap();
    page.types("list");
    fs::write(&config, good.replace("nixpkgs = ", "nixpkgs_ = ")).unwrap();
    page.types("list");

    // No nixpkgs at all, a wrong one, no Nix.
    let without: String = good.split_inclusive('\n').filter(|line| !line.starts_with("nixpkgs = ")).collect();
    fs::write(&config, &without).unwrap();
    page.types("create @web web.nix");
    fs::write(&config, without.replace("[nix]\n", "[nix]\nnixpkgs = \"/no/such/nixpkgs\"\n")).unwrap();
    page.types("create @web web.nix");
    fs::write(&config, good.replace("[nix]\n", "[nix]\nbin = \"/no/such/bin\"\n")).unwrap();
    page.types("create @web web.nix");
    fs::write(&config, good.replace("[ids]\n", "[ids]\nfirst = 4294967000\n")).unwrap();
    page.types("create @web web.nix");
    // All that there is belongs to another user.
    page.file("subuid", "joe:100000:4294867295\n");
    let subuid = format!("foreign = [\"{}\"]", lab.path("/files/subuid").display());
    fs::write(&config, good.replace("foreign = [\"/etc/subuid\", \"/etc/subgid\"]", &subuid)).unwrap();
    page.types("create @web web.nix");
    fs::write(&config, good.replace("[paths]\n", "[paths]\nlxc_share = \"/no/such/share\"\n")).unwrap();
    page.types("create @web web.nix");
    fs::write(&config, &good).unwrap();

    // Without a line in /etc/subuid it works, as it must.
    page.types("create --quiet @web web.nix");
    lab.manager().host_down().unwrap();
    // A new network has that of the machine.
    fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    page.types("start @web");
    page.types("host up");
    page.types("start @web");
    web.await_version();
    // Its bridge is in use.
    page.types("host down");
    // Somebody else is at it.
    fs::write(&config, good.replace("lock = 60", "lock = 1")).unwrap();
    let hold = lab.path("/var/lib/nixcloud/container/locks").join(web.name().as_str());
    let file = fs::File::create(&hold).unwrap();
    fs::write(&hold, format!("{}\n", std::process::id())).unwrap();
    file.lock().unwrap();
    page.types("stop @web");
    drop(file);
    fs::write(&config, &good).unwrap();
    page.page("mistakes_of_the_host");
}
