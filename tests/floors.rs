//! The library's floors: a file imports lower ones only, so there is no cycle. The drawing in the library's
//! documentation is what is checked, so it cannot go stale.

#![expect(clippy::unwrap_used, reason = "a test program: it fails by panics")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nixcloud-container/src")
}

/// The modules in the order of the table in `lib.rs`, from the lowest floor up, each floor from left to right.
fn floors() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rows: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("//! | floor"))
        .skip(2)
        .map_while(|line| line.strip_prefix("//! | ")?.strip_suffix(" |")?.split_once(" | "))
        .map(|(_, modules)| modules)
        .collect();
    assert_eq!(rows.len(), 7, "the table of floors is not where it was: {rows:?}");
    let name = |word: &str| {
        // The text after a colon explains. Types stand for their modules.
        let word = word.split(':').next().unwrap().trim().trim_matches(['[', ']', '`']);
        word.trim_start_matches("mod@").to_lowercase()
    };
    rows.iter().rev().flat_map(|row| row.split(", ").map(name)).collect()
}

/// The modules that there are, with their files. Files of tests alone are left out.
fn modules() -> Vec<(String, Vec<PathBuf>)> {
    let mut modules: Vec<(String, Vec<PathBuf>)> = fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("lib.rs") && !path.ends_with("bin"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let files = if path.is_dir() { rust_files(&path) } else { vec![path] };
            (name, files)
        })
        .collect();
    modules.sort();
    modules
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            files.extend(rust_files(&path));
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

#[test]
fn every_module_has_its_place() {
    let mut floors = floors();
    floors.sort();
    let there: Vec<String> = modules().into_iter().map(|(name, _)| name).collect();
    assert_eq!(floors, there, "the table in lib.rs names other modules than there are");
}

#[test]
fn a_file_imports_lower_floors_only() {
    let floors = floors();
    let place = |module: &str| floors.iter().position(|known| known == module);
    let mut wrong = Vec::new();
    for (module, files) in modules() {
        for file in files {
            for import in imports(&code(&fs::read_to_string(&file).unwrap())) {
                // Re-exported names of lib.rs would hide where something comes from.
                let Some(theirs) = place(&import) else {
                    wrong.push(format!("{} imports crate::{import}, which is no module", file.display()));
                    continue;
                };
                if import != module && Some(theirs) > place(&module) {
                    wrong.push(format!(
                        "{} ({module}) imports {import}, which is above or to the right",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A program that embeds the library has other commands, or none: hints are operations (`Remedy`), which the command spells.
#[test]
fn the_library_has_no_command_lines_in_its_texts() {
    let mut wrong = Vec::new();
    for (_, files) in modules() {
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
fn there_is_one_door_to_unsafe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    for krate in ["nixcloud-container/src", "nixcloud-container-cli/src", "examples", "tests"] {
        for file in rust_files(&root.join(krate)) {
            // The word in a lint's name, or in a text of this file, is none.
            let text = code(&fs::read_to_string(&file).unwrap());
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let count = words.filter(|word| *word == concat!("uns", "afe")).count();
            if file.starts_with(root.join("nixcloud-container/src/lxc")) {
                seen += count;
            } else {
                assert_eq!(count, 0, "{}", file.display());
            }
        }
    }
    assert!(seen > 10, "nothing was looked at");
}
