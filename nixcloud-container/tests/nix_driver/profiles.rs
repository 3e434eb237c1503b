//! Profiles and roots: what Nix keeps.

use std::fs;
use std::path::Path;

use nixcloud_container::nix::{Error, Profile, roots};
use nixcloud_container::observe::Cancel;

use crate::bench::{Bench, STATE_DIR};

#[test]
fn root_profile_from_the_first_generation_to_its_removal() {
    let bench = Bench::new();
    let first = bench.build(r#"answer (mk "gen-one" "echo 1 > $out")"#, "root-1");
    let second = bench.build(r#"answer (mk "gen-two" "echo 2 > $out")"#, "root-2");
    for root in ["root-1", "root-2"] {
        roots::remove(&bench.path(root), Path::new(STATE_DIR)).unwrap();
    }
    fs::create_dir(bench.path("c1")).unwrap();
    let profile = Profile::new(bench.path("c1/profile")).unwrap();
    let (path, cancel) = (profile.path(), Cancel::new());
    let ids = || -> Vec<u64> { profile.generations().unwrap().iter().map(|found| found.id).collect() };

    bench.nix.set_profile(path, &first, &cancel).unwrap();
    bench.nix.set_profile(path, &second, &cancel).unwrap();
    bench.nix.set_profile(path, &second, &cancel).unwrap();
    assert_eq!((ids(), profile.current().unwrap()), (vec![1, 2], Some(2)));
    assert_eq!(profile.generation(1).unwrap().unwrap().target, first.as_path());
    assert_eq!(profile.generation(2).unwrap().unwrap().target, second.as_path());
    assert_eq!(bench.roots_of(&first), [profile.link(1)]);

    bench.nix.switch_generation(path, 1, &cancel).unwrap();
    assert_eq!(profile.current().unwrap(), Some(1));
    let unknown = bench.nix.switch_generation(path, 7, &cancel).unwrap_err();
    assert!(matches!(unknown, Error::Failed { .. }), "{unknown:?}");
    assert!(unknown.to_string().contains("does not exist"), "{unknown}");
    let current = bench.nix.delete_generations(path, &[1], &cancel).unwrap_err();
    assert!(current.to_string().contains("current"), "{current}");
    assert_eq!((ids(), profile.current().unwrap()), (vec![1, 2], Some(1)));

    bench.nix.delete_generations(path, &[2, 9], &cancel).unwrap();
    assert_eq!(ids(), [1]);
    assert!(bench.roots_of(&second).is_empty());

    profile.remove_all(Path::new(STATE_DIR)).unwrap();
    assert!(bench.roots_of(&first).is_empty());
    assert_eq!(fs::read_dir(bench.path("c1")).unwrap().count(), 0);
}

#[test]
fn root_native_roots_count_for_nix() {
    let bench = Bench::new();
    let out = bench.build(r#"answer (mk "rooted" "echo > $out")"#, "built");
    let (built, booted) = (bench.path("built"), bench.path("booted"));
    roots::add(&booted, &out, Path::new(STATE_DIR)).unwrap();
    assert_eq!(bench.roots_of(&out), [booted.clone(), built.clone()]);
    roots::remove(&built, Path::new(STATE_DIR)).unwrap();
    assert_eq!(bench.roots_of(&out), std::slice::from_ref(&booted));
    roots::remove(&booted, Path::new(STATE_DIR)).unwrap();
    assert!(bench.roots_of(&out).is_empty());
}
