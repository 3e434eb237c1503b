//! `nix/keys.nix` and what it feeds agree: each key arrives in the spec, the library reads that spec, the README shows the table.

use libtest_mimic::Trial;
use nixcloud_container::ContainerSpec;
use serde_json::Value;

use super::tools::{Folder, Nix, RELEASES, root};

pub fn trials(folder: &Folder, nix: &Nix) -> Vec<Trial> {
    let (folder, nix) = (folder.clone(), nix.clone());
    let trial = Trial::test("nix_keys_are_those_of_the_library_and_the_readme", move || {
        let standin = folder.standin(RELEASES[0]);
        let keys = nix.json(&standin, &root().join("tests/nix/keys.nix"), &[]);
        each_key_arrives(&keys);
        the_readme_has_the_table(&keys);
        Ok(())
    });
    vec![trial]
}

fn each_key_arrives(keys: &Value) {
    let read = |spec: &Value| {
        let read = ContainerSpec::from_json(spec.to_string().as_bytes());
        // What the library would drop or add is a key that one side does not know.
        let read = read.unwrap_or_else(|error| panic!("{error}: {spec}"));
        assert_eq!(serde_json::to_value(&read).unwrap(), *spec);
        read
    };
    let empty = read(&keys["empty"]);
    let examples = keys["with_one"].as_object().unwrap();
    assert!(examples.len() >= 18, "{} keys only", examples.len());
    for (key, spec) in examples {
        assert_ne!(read(spec), empty, "`{key}` changes nothing");
    }
}

fn the_readme_has_the_table(keys: &Value) {
    let table: Vec<&str> =
        keys["table"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&table.join("\n")), "the table in README.md is to be:\n{}", table.join("\n"));
}
