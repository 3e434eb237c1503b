//! `docs/lxc-args.md`, from the tables. `UPDATE_DOCS=1 cargo test -p nixcloud-container-cli lxc_args` writes it.

use std::fmt::Write as _;
use std::path::Path;

use super::Tool;
use super::listing::{seen, spellings};
use super::option::{Here, Opt};

const TOOLS: [(Tool, &str); 6] = [
    (Tool::Create, "`create`, `update` and `plan`"),
    (Tool::Start, "`start`"),
    (Tool::Stop, "`stop`, `restart` and `terminate`"),
    (Tool::Attach, "`login` and `run`"),
    (Tool::Ls, "`list`"),
    (Tool::Destroy, "`destroy`"),
];

const INTRODUCTION: &str = "\
# What `-l` takes

<!-- Made from the tables in nixcloud-container-cli/src/lxc_args: change those, then run
     UPDATE_DOCS=1 cargo test -p nixcloud-container-cli lxc_args -->

`-l ARGS` (`--lxc-args`) takes the words that the LXC tool of a command takes, as of LXC 5 and 6. It may be repeated, and each
ARGS is split as a shell does. No LXC tool is run: the words are read as `getopt_long` reads them (`-Fd`, `-t10`,
`--timeout=10`, `--time 10`), and what makes sense is done by this program. What does not is refused by name, before
anything is done, with exit code 2.

    nixcloud-container start web -l -F
    nixcloud-container stop web -l '-t 10'
    nixcloud-container list -l '--running -F NAME,IPV4,RAM'
    nixcloud-container login web -l '-u 1000 -v EDITOR=vi'
    nixcloud-container create web web.nix -l '-s lxc.group=shop'

Configuration items of create and update (`-s`) belong to the generation that they were given with: a rollback brings back
the ones that its generation had. They stay until an update gives others; `update NAME -l ''` removes them.
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (tool, commands) in TOOLS {
        let _ = writeln!(page, "\n## {} ({commands})\n", tool.name());
        table(&mut page, tool, &["Option", "In LXC", "Here"], |option| match option.here {
            Here::Honoured(does) => Some(does.to_owned()),
            Here::Refused { .. } => None,
        });
        page.push_str("\nRefused:\n\n");
        table(&mut page, tool, &["Option", "In LXC", "Why, and what works"], |option| match option.here {
            Here::Honoured(_) => None,
            Here::Refused { why, instead } => Some(format!("{why}; {instead}")),
        });
    }
    page
}

fn table(page: &mut String, tool: Tool, headings: &[&str; 3], cell: impl Fn(&Opt) -> Option<String>) {
    let _ = writeln!(page, "| {} |\n|---|---|---|", headings.join(" | "));
    for option in seen(tool) {
        if let Some(text) = cell(option) {
            let means = if option.extension { "(not an option of the tool)" } else { option.means };
            let cells = [spellings(option), means.to_owned(), text].map(|text| text.replace('|', "\\|"));
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
    }
}

#[test]
fn the_page_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lxc-args.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/lxc-args.md is not what the tables say: run this test with UPDATE_DOCS=1");
}
