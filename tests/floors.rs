//! The rooms of the library and of the command: a room imports lower ones only, and inside a room there is no circle. The tables
//! in the heads of the crates are what is checked and drawn, so neither can go stale.

#![expect(clippy::unwrap_used, reason = "a test program: it fails by panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The library's sources.
fn library() -> PathBuf {
    root().join("nixcloud-container/src")
}

/// The command's.
fn command() -> PathBuf {
    root().join("nixcloud-container-cli/src")
}

/// A room, as the table in the head of its crate has it.
struct Room {
    name: String,
    owns: String,
}

/// The rooms from top to bottom.
fn rooms(source: &Path) -> Vec<Room> {
    let head = ["lib.rs", "main.rs"].map(|head| source.join(head)).into_iter().find(|head| head.is_file());
    let text = fs::read_to_string(head.unwrap()).unwrap();
    let rooms: Vec<Room> = text
        .lines()
        .skip_while(|line| !line.starts_with("//! | room"))
        .skip(2)
        .map_while(|line| line.strip_prefix("//! | `")?.strip_suffix(" |")?.split_once("` | "))
        .map(|(name, owns)| Room { name: name.to_owned(), owns: owns.replace(['[', ']'], "") })
        .collect();
    assert!(rooms.len() > 10, "the table of rooms is not where it was");
    rooms
}

/// The rooms that there are, with their files. Files of tests alone are left out.
fn modules(source: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut modules: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("lib.rs") || path.ends_with("main.rs") || path.ends_with("bin") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let files = if path.is_dir() { rust_files(&path) } else { vec![path] };
        modules.entry(name).or_default().extend(files);
    }
    modules
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // Cases by subject, below a `mod tests;`.
            if name != "tests" {
                files.extend(rust_files(&path));
            }
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
            files.push(path);
        }
    }
    files
}

/// The text without its comments and without what only tests compile, which is at the end of each file.
fn code(text: &str) -> String {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .map(|line| line.split("//").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The modules that follow `crate::`, also in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let word =
        |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap().to_owned();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.extend([word(rest)]),
            Some(list) => {
                // Only the first word of each entry counts; braces within are of one entry.
                let mut depth = 0;
                let mut entry = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.extend([word(std::mem::take(&mut entry).trim())]),
                        _ => {}
                    }
                    if depth == 0 && c != ',' {
                        entry.push(c);
                    }
                }
                found.extend([word(entry.trim())]);
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn imports_are_read() {
    let code = code(
        "use crate::a::B; // crate::no\nuse crate::{c::{D, E}, f};\nlet x = crate::g::h();\n#[cfg(test)]\nuse crate::z;",
    );
    let expected: BTreeSet<String> = ["a", "c", "f", "g"].map(str::to_owned).into();
    assert_eq!(imports(&code), expected);
}

/// Who imports whom among the rooms below `source`.
fn arrows(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (room, files) in modules(source) {
        let theirs = arrows.entry(room.clone()).or_default();
        for file in files {
            theirs.extend(imports(&code(&fs::read_to_string(&file).unwrap())));
        }
        theirs.remove(&room);
    }
    arrows
}

/// What is wrong with the places of the rooms below `source`.
fn misplaced(source: &Path) -> Vec<String> {
    let rooms = rooms(source);
    let modules = modules(source);
    let named: BTreeSet<&str> = rooms.iter().map(|room| room.name.as_str()).collect();
    let there: BTreeSet<&str> = modules.keys().map(String::as_str).collect();
    let mut wrong: Vec<String> = named
        .symmetric_difference(&there)
        .map(|room| format!("{}: {room} is only in the table, or only there", source.display()))
        .collect();
    let place = |name: &str| rooms.iter().position(|room| room.name == name);
    for (room, files) in &modules {
        for file in files {
            for import in imports(&code(&fs::read_to_string(file).unwrap())) {
                let file = file.display();
                match place(&import) {
                    // Re-exported names of the crate's head would hide where something comes from.
                    None => wrong.push(format!("{file} imports crate::{import}, which is no room")),
                    Some(theirs) if Some(theirs) < place(room) => {
                        wrong.push(format!("{file} ({room}) imports {import}, which is above"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    wrong
}

#[test]
fn a_room_imports_lower_rooms_only() {
    let wrong = [misplaced(&library()), misplaced(&command())].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The modules that a file names, as paths from the crate: what follows `crate`, `super` and `self`, also in braces.
fn named(me: &[String], code: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            if code[..at].chars().next_back().is_some_and(|before| is_word(before) || before == ':') {
                continue;
            }
            let mut base = match start {
                "crate::" => Vec::new(),
                "super::" => me[..me.len() - 1].to_vec(),
                _ => me.to_vec(),
            };
            let mut rest = &code[at + start.len()..];
            while let Some(further) = rest.strip_prefix("super::") {
                base.pop();
                rest = further;
            }
            let path: &str = &rest[..rest.find(|c: char| !is_word(c) && c != ':').unwrap_or(rest.len())];
            base.extend(path.split("::").filter(|word| !word.is_empty()).map(str::to_owned));
            found.insert(base.clone());
            if let Some(list) = rest[path.len()..].strip_prefix('{') {
                let list = list.split(';').next().unwrap();
                let words = list.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
                found.extend(words.map(|word| [base.clone(), vec![word.to_owned()]].concat()));
            }
        }
    }
    found
}

/// The names that the head of a folder hands on from its files, each with its file.
fn handed_on_by(folder: &Path) -> BTreeMap<String, String> {
    let head = fs::read_to_string(folder.join("mod.rs")).map_or_else(|_| String::new(), |text| code(&text));
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let uses = head.split(';').filter_map(|statement| statement.split_once("use ")?.1.split_once("::"));
    uses.filter(|(file, _)| file.chars().all(is_word))
        .flat_map(|(file, names)| {
            names
                .split(|c| !is_word(c))
                .filter(|name| !name.is_empty())
                .map(move |name| (name.to_owned(), file.to_owned()))
        })
        .collect()
}

/// Circles among the files and folders of one folder.
fn circles(source: &Path, files: impl Iterator<Item = PathBuf>) -> Vec<String> {
    let mut arrows: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let mut handed_on: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(source).unwrap().with_extension("");
        let mut me: Vec<String> = inside.iter().map(|word| word.to_str().unwrap().to_owned()).collect();
        if me.last().is_some_and(|last| last == "mod") {
            me.pop();
        }
        for path in named(&me, &code(&fs::read_to_string(&file).unwrap())) {
            let same = me.iter().zip(&path).take_while(|(mine, theirs)| mine == theirs).count();
            let (Some(mine), Some(theirs)) = (me.get(same), path.get(same)) else { continue };
            let folder = me[..same].join("/");
            let names =
                handed_on.entry(folder.clone()).or_insert_with(|| handed_on_by(&source.join(&folder)));
            let theirs = names.get(theirs).unwrap_or(theirs).clone();
            let there = source.join(&folder).join(&theirs);
            if theirs != *mine && (there.is_dir() || there.with_extension("rs").is_file()) {
                arrows.entry(folder).or_default().entry(mine.clone()).or_default().insert(theirs);
            }
        }
    }
    let mut found = Vec::new();
    for (folder, mut arrows) in arrows {
        // Who imports nobody that is left is in no circle.
        loop {
            let done: Vec<String> =
                arrows.iter().filter(|(_, theirs)| theirs.is_empty()).map(|(name, _)| name.clone()).collect();
            let known: BTreeSet<String> = arrows.keys().cloned().collect();
            arrows.retain(|name, _| !done.contains(name));
            for theirs in arrows.values_mut() {
                theirs.retain(|name| known.contains(name) && !done.contains(name));
            }
            if done.is_empty() && arrows.values().all(|theirs| !theirs.is_empty()) {
                break;
            }
        }
        if !arrows.is_empty() {
            found.push(format!("{folder}: a circle among {arrows:?}"));
        }
    }
    found
}

#[test]
fn inside_a_room_is_no_circle() {
    let found = [library(), command()].map(|source| {
        let rooms = modules(&source).into_iter().filter(|(_, files)| files.len() > 1);
        circles(&source, rooms.flat_map(|(_, files)| files))
    });
    let found = found.concat();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn circles_are_seen() {
    let folder = std::env::temp_dir().join(format!("nixcloud-container-circles-{}", std::process::id()));
    fs::create_dir_all(folder.join("room")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join("room").join(name), text).unwrap();
    write("a.rs", "use super::b::B;");
    write("b.rs", "use crate::room::c::{self, C};");
    write("c.rs", "use super::d;");
    write("d.rs", "");
    let files = || rust_files(&folder).into_iter();
    assert_eq!(circles(&folder, files()), [""; 0]);
    write("c.rs", "use super::{a::A, d};");
    let found = circles(&folder, files());
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("\"a\": {\"b\"}"), "{found:?}");
}

/// What `docs/architecture.md` has of a crate between its marks.
fn drawing(source: &Path) -> String {
    let rooms = rooms(source);
    let arrows = arrows(source);
    let mut text = String::from("| room | owns | imports |\n|---|---|---|\n");
    for room in &rooms {
        let theirs = &arrows[&room.name];
        let theirs: Vec<&str> =
            rooms.iter().map(|room| room.name.as_str()).filter(|name| theirs.contains(*name)).collect();
        let _ = writeln!(text, "| `{}` | {} | {} |", room.name, room.owns, theirs.join(", "));
    }
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    let _ = writeln!(text, "\n{} rooms, {count} arrows, none upward, no circle inside a room.", rooms.len());
    text
}

/// How many functions of this code take a host, an observer and a way to cancel, each as a parameter of its own: an operation is given
/// one `Context`.
fn with_three(code: &str) -> usize {
    let lists = code.match_indices("fn ").filter_map(|(at, _)| {
        let list = &code[at + code[at..].find('(')?..];
        let mut depth = 0;
        let end = list.find(|c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        })?;
        Some(&list[..end])
    });
    let three = ["host: &", "observer: &mut ", "cancel: &Cancel"];
    lists.filter(|list| three.iter().all(|one| list.contains(one))).count()
}

/// As [`with_three`], of all that is below `source`.
fn all_with_three(source: &Path) -> usize {
    rust_files(source).iter().map(|file| with_three(&code(&fs::read_to_string(file).unwrap()))).sum()
}

#[test]
fn an_operation_is_given_one_context() {
    let three = "fn a(host: &Host, b: (u8, u8), observer: &mut dyn Observer, cancel: &Cancel) {}";
    let two = "fn a(host: &Host, cancel: &Cancel) {} fn b(observer: &mut dyn Observer) {}";
    assert_eq!([three, two].map(with_three), [1, 0]);
    assert_eq!(all_with_three(&library()), 0, "`Context` has host, observer and cancel");
}

/// What there was before the files became rooms, and what there is.
fn numbers() -> String {
    let count = |source: &Path| [modules(source).len(), arrows(source).values().map(BTreeSet::len).sum()];
    let ([rooms, drawn], [of_command, drawn_of_command]) = (count(&library()), count(&command()));
    let upward = misplaced(&library()).len();
    let (three, long) = (all_with_three(&library()), too_long(&root()).len());
    format!(
        "| | before | now |\n|---|---|---|\n\
         | rooms of the library (before: its flat modules) | 83 | {rooms} |\n\
         | arrows between them | 672 | {drawn} |\n\
         | arrows upward, in today's order of the rooms | 2 | {upward} |\n\
         | circles inside a room | 2 | 0 |\n\
         | rooms of the command, and arrows | 16, 47 | {of_command}, {drawn_of_command} |\n\
         | of these in one circle | 11 | 0 |\n\
         | functions that take host, observer and cancel | 44 | {three} |\n\
         | files of more than 500 lines that do not say why | 6 | {long} |\n\
         | files that a new key of a container file touches | about 20 | 8 |\n"
    )
}

#[test]
fn the_rooms_are_drawn() {
    let path = root().join("docs/architecture.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut drawn = page.clone();
    for (mark, text) in [
        ("<!-- rooms -->\n", drawing(&library())),
        ("<!-- rooms of the command -->\n", drawing(&command())),
        ("<!-- numbers -->\n", numbers()),
    ] {
        let parts: Vec<&str> = drawn.split(mark).collect();
        let [before, _, after] = parts[..] else { panic!("two marks {mark}") };
        drawn = [before, mark, &text, mark, after].concat();
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, drawn).unwrap();
        return;
    }
    assert!(page == drawn, "docs/architecture.md draws other rooms than there are: UPDATE_DOCS=1 writes it");
}

/// A program that embeds the library has other commands, or none: hints are operations (`Remedy`), which the command spells.
#[test]
fn the_library_has_no_command_lines_in_its_texts() {
    let mut wrong = Vec::new();
    for (_, files) in modules(&library()) {
        for file in files {
            let text = code(&fs::read_to_string(&file).unwrap());
            // The head of a configuration file, which an admin reads on a host that has the command.
            let head = "Start it with `nixcloud-container start`";
            let lines =
                text.lines().filter(|line| line.contains("`nixcloud-container ") && !line.contains(head));
            wrong.extend(lines.map(|line| format!("{}: {}", file.display(), line.trim())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_two_doors_to_unsafe() {
    let root = root();
    let mut seen = 0;
    for krate in ["nixcloud-container/src", "nixcloud-container-cli/src", "examples", "tests"] {
        for file in rust_files(&root.join(krate)) {
            // The word in a lint's name, or in a text of this file, is none.
            let text = code(&fs::read_to_string(&file).unwrap());
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let count = words.filter(|word| *word == concat!("uns", "afe")).count();
            if ["lxc", "sys"].iter().any(|door| file.starts_with(library().join(door))) {
                seen += count;
            } else {
                assert_eq!(count, 0, "{}", file.display());
            }
        }
    }
    assert!(seen > 10, "nothing was looked at");
}

/// How long a file is before it says in its head why it is no shorter, in a line `// Long: ` or `//! Long: `.
const LONG: usize = 500;

/// The files below a folder that are longer and do not say why.
fn too_long(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            found.extend(too_long(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let (lines, mut head) =
                (text.lines().count(), text.lines().take_while(|line| line.starts_with("//")));
            let reason =
                head.find_map(|line| line.trim_start_matches(['/', '!']).trim().strip_prefix("Long: "));
            if lines > LONG && reason.is_none_or(|reason| reason.split(' ').count() < 3) {
                found.push(format!("{} has {lines} lines", path.display()));
            }
        }
    }
    found
}

#[test]
fn a_long_file_says_why() {
    let found = too_long(&root());
    assert!(
        found.is_empty(),
        "split by subject, or say in the head of the file why not:\n{}",
        found.join("\n")
    );
}

#[test]
fn long_files_are_seen() {
    let folder = std::env::temp_dir().join(format!("nixcloud-container-long-{}", std::process::id()));
    fs::create_dir_all(folder.join("room/tests")).unwrap();
    let lines = |count| "x\n".repeat(count);
    for (name, text) in [
        ("short.rs", lines(500)),
        ("long.rs", lines(501)),
        ("below.rs", format!("{}// Long: it is said too late.\n{}", lines(1), lines(500))),
        ("no_word.rs", format!("//! Long: so\n{}", lines(500))),
        ("said.rs", format!("//! A table.\n//!\n//! Long: a table is read as one.\n{}", lines(500))),
        ("tests/cases.rs", lines(501)),
    ] {
        fs::write(folder.join("room").join(name), text).unwrap();
    }
    let mut found: Vec<String> =
        too_long(&folder).iter().map(|one| one.replace(folder.to_str().unwrap(), "")).collect();
    found.sort();
    fs::remove_dir_all(&folder).unwrap();
    let wanted = [
        "/room/below.rs has 502",
        "/room/long.rs has 501",
        "/room/no_word.rs has 501",
        "/room/tests/cases.rs has 501",
    ];
    assert_eq!(found, wanted.map(|one| format!("{one} lines")));
}
