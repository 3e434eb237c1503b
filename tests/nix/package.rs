//! The package: what it is built of is whole, and what it installs, by the Makefile that a package of any system calls.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use super::tools::{Folder, Nix, RELEASES, root, succeeded};

pub fn trials(folder: &Folder, nix: &Nix) -> Vec<Trial> {
    let (here, nix) = (folder.clone(), nix.clone());
    let source = Trial::test("nix_package_source_is_whole", move || {
        source_is_whole(&here, &nix);
        Ok(())
    });
    let folder = folder.clone();
    let install = Trial::test("package_installs_everything", move || {
        installs_everything(&folder);
        Ok(())
    });
    vec![source, install]
}

/// All files below a folder, as paths in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![folder.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// The filtered source that Nix would build: Cargo reads its workspace, and all that the programs build in is there.
fn source_is_whole(folder: &Folder, nix: &Nix) {
    let standin = folder.standin(RELEASES[RELEASES.len() - 1]);
    let source = nix.json(&standin, &root().join("nix/default.nix"), &["-A", "package.src"]);
    let source = PathBuf::from(source.as_str().unwrap());
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--locked", "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .output()
        .unwrap();
    let packages = succeeded("cargo metadata", &output);
    assert!(packages.contains("\"nixcloud-container-worker\""), "{packages}");
    let files = files(&source);
    let programs = ["nixcloud-container/src/", "nixcloud-container-cli/src/"];
    let mut built_in = 0;
    for file in files.iter().filter(|file| programs.iter().any(|program| file.starts_with(program))) {
        let text = std::fs::read(source.join(file)).unwrap();
        let text = String::from_utf8_lossy(&text);
        for name in text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let path = source.join(file).parent().unwrap().join(name);
            assert!(path.is_file(), "{file} builds in {name}, which the package has not");
            built_in += 1;
        }
    }
    assert!(built_in >= 10, "{built_in} only");
    // A changed test or scenario builds nothing anew.
    assert!(!files.iter().any(|file| file.starts_with("tests/root/")), "{files:?}");
}

fn installs_everything(folder: &Folder) {
    let root = root();
    let target = folder.path("installed");
    let built = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    make("install", &target, &built);
    let installed = files(&target);
    let mut expected: BTreeSet<String> = [
        "bin/nixcloud-container",
        "libexec/nixcloud-container-worker",
        "share/bash-completion/completions/nixcloud-container",
        "share/doc/nixcloud-container/config.toml",
        "share/fish/vendor_completions.d/nixcloud-container.fish",
        "share/zsh/site-functions/_nixcloud-container",
    ]
    .map(|file| format!("opt/nc/{file}"))
    .into();
    let units = std::fs::read_dir(root.join("systemd")).unwrap().map(|unit| unit.unwrap().file_name());
    expected.extend(units.map(|unit| format!("opt/nc/lib/systemd/system/{}", unit.to_str().unwrap())));
    // What people read, at the places that the links between those pages name.
    let documents = ["docs", "examples"]
        .into_iter()
        .flat_map(|folder| files(&root.join(folder)).into_iter().map(move |file| format!("{folder}/{file}")));
    let pages = ["README.md", "CHANGELOG.md", "LICENSE"].map(str::to_owned);
    let documents = documents.chain(pages).filter(|file| !file.contains("/target/"));
    expected.extend(documents.map(|file| format!("opt/nc/share/doc/nixcloud-container/{file}")));
    let (pages, others): (BTreeSet<_>, BTreeSet<_>) =
        installed.into_iter().partition(|file| file.starts_with("opt/nc/share/man/"));
    assert_eq!(others, expected);

    // A page for the program, each of its commands and its configuration.
    let output = Command::new(built.join("nixcloud-container")).arg("man").output().unwrap();
    let main = succeeded("man", &output);
    assert!(pages.len() > 20, "{pages:?}");
    for page in
        ["man1/nixcloud-container.1", "man1/nixcloud-container-create.1", "man5/nixcloud-container.toml.5"]
    {
        assert!(pages.contains(&format!("opt/nc/share/man/{page}")), "{page}: {pages:?}");
    }
    let page = std::fs::read_to_string(target.join("opt/nc/share/man/man1/nixcloud-container.1")).unwrap();
    assert_eq!(page, main);

    // Units call the program where it was put, and their pages are among those.
    for unit in expected.iter().filter(|file| file.ends_with(".service")) {
        let text = std::fs::read_to_string(target.join(unit)).unwrap();
        assert!(
            text.contains("=/opt/nc/bin/nixcloud-container ") && !text.contains("=/usr/bin/"),
            "{unit}: {text}"
        );
        let page = text.lines().find_map(|line| line.strip_prefix("Documentation=man:")).unwrap();
        let page = page.strip_suffix("(1)").unwrap();
        assert!(pages.contains(&format!("opt/nc/share/man/man1/{page}.1")), "{unit}: {page}");
    }

    // What is another's stays.
    let other = "opt/nc/share/man/man1/other.1";
    std::fs::write(target.join(other), "").unwrap();
    make("uninstall", &target, &built);
    assert_eq!(files(&target), BTreeSet::from([other.to_owned()]));
}

fn make(goal: &str, target: &Path, built: &Path) {
    let output = Command::new("make")
        .args(["-s", "-C"])
        .arg(root())
        .args([goal, "PREFIX=/opt/nc"])
        .arg(format!("DESTDIR={}", target.display()))
        .arg(format!("BUILT={}", built.display()))
        .output()
        .unwrap();
    succeeded(goal, &output);
}
