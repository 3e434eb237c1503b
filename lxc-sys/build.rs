//! Finds liblxc and makes its bindings.
//!
//! | variable | effect |
//! |---|---|
//! | `LXC_SYS_PREGENERATED=1` | take the committed bindings, run no libclang |
//! | `LXC_INCLUDE_DIR`, `LXC_LIB_DIR` | look there, do not ask pkg-config (both are needed) |
//! | `DOCS_RS` | as `LXC_SYS_PREGENERATED`, and link nothing |
//!
//! Three outcomes: fresh bindings of the installed headers; the committed ones, linked (no libclang); the committed
//! ones, not linked (no liblxc: `cargo check` and `cargo doc` work, a program does not link). The last two warn.

use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

/// The oldest liblxc whose structs have the shape that these bindings rely on: 4.0.7 grew `lxc_attach_options_t` for
/// the last time.
const FLOOR: Version = Version { major: 4, minor: 0, micro: 7, devel: false };

/// Versions that brought something; each becomes a cfg. A development version is treated as the newest.
const STEPS: [(&str, Version); 4] = [
    ("lxc_4_0_7", FLOOR),
    ("lxc_5_0", Version { major: 5, minor: 0, micro: 0, devel: false }),
    ("lxc_6_0", Version { major: 6, minor: 0, micro: 0, devel: false }),
    ("lxc_6_0_6", Version { major: 6, minor: 0, micro: 6, devel: false }),
];

const PREGENERATED: &str = "src/pregenerated.rs";

/// A version as the headers state it. The derived order is that of the numbers; `devel` is looked at first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
    micro: u32,
    devel: bool,
}

impl Version {
    fn has(self, step: Self) -> bool {
        self.devel || self >= step
    }
}

/// An installed liblxc: where its headers are and which version they name.
struct Installed {
    include: Vec<PathBuf>,
    version: Version,
}

fn main() {
    for variable in ["LXC_SYS_PREGENERATED", "LXC_INCLUDE_DIR", "LXC_LIB_DIR", "DOCS_RS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    for file in ["build.rs", "wrapper.h", PREGENERATED] {
        println!("cargo::rerun-if-changed={file}");
    }
    for (cfg, _) in STEPS {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
    }
    println!("cargo::rustc-check-cfg=cfg(lxc_pregenerated)");

    if let Err(message) = run() {
        // Shown by cargo without the back trace of a panic.
        println!("cargo::error={message}");
    }
}

fn run() -> Result<(), String> {
    if env::var_os("DOCS_RS").is_some() {
        return pregenerated();
    }
    let installed = match find()? {
        Ok(installed) => installed,
        Err(why) => {
            println!(
                "cargo::warning=liblxc was not found ({why}); using the committed bindings, which check and document \
                 but do not link. Install the Debian package `lxc-dev` or the Nix package `lxc`."
            );
            return pregenerated();
        }
    };
    if forced() {
        return pregenerated();
    }
    match generate(&installed.include) {
        Ok(text) => {
            write(&text)?;
            announce(installed.version);
            Ok(())
        }
        Err(why) => {
            println!(
                "cargo::warning=bindgen could not run ({why}); using the committed bindings. For fresh ones install \
                 the Debian package `libclang-dev` or the Nix package `llvmPackages.libclang`."
            );
            pregenerated()
        }
    }
}

fn forced() -> bool {
    env::var_os("LXC_SYS_PREGENERATED").is_some_and(|value| value != "0" && !value.is_empty())
}

/// Finds liblxc and tells cargo to link it. The outer error stops the build, the inner says that there is none.
fn find() -> Result<Result<Installed, String>, String> {
    let (include, stated) = match (env::var_os("LXC_INCLUDE_DIR"), env::var_os("LXC_LIB_DIR")) {
        (Some(include), Some(lib)) => {
            println!("cargo::rustc-link-search=native={}", Path::new(&lib).display());
            println!("cargo::rustc-link-lib=dylib=lxc");
            tell_where_it_lies(&[PathBuf::from(lib)]);
            (vec![PathBuf::from(include)], None)
        }
        (None, None) => match pkg_config::Config::new().statik(false).probe("lxc") {
            Ok(library) => {
                tell_where_it_lies(&library.link_paths);
                (library.include_paths, Some(library.version))
            }
            Err(error) => return Ok(Err(first_line(&error.to_string()))),
        },
        _ => return Err("set both LXC_INCLUDE_DIR and LXC_LIB_DIR, or neither".into()),
    };
    let version = header_version(&include)?;
    if !version.has(FLOOR) {
        return Err(format!(
            "liblxc {}.{}.{} is too old: {}.{}.{} is the least that works. Install a newer Debian package `lxc-dev` \
             or Nix package `lxc`.",
            version.major, version.minor, version.micro, FLOOR.major, FLOOR.minor, FLOOR.micro
        ));
    }
    if let Some(stated) = stated {
        let header = format!("{}.{}.{}", version.major, version.minor, version.micro);
        // "6.0.0-devel" and "6.0.0.beta1" are still 6.0.0.
        let numbers: Vec<_> = stated.split(['.', '-']).take(3).collect();
        if !version.devel && numbers.join(".") != header {
            return Err(format!(
                "pkg-config says liblxc {stated} but <lxc/version.h> says {header}: two versions are mixed"
            ));
        }
    }
    Ok(Ok(Installed { include, version }))
}

/// Tells `src/loaded.rs` the folders that the loader does not know by itself: pkg-config leaves the system's own out.
fn tell_where_it_lies(folders: &[PathBuf]) {
    if let Ok(folders) = env::join_paths(folders) {
        println!("cargo::rustc-env=LXC_SYS_FOLDERS={}", folders.display());
    }
}

/// Reads `<lxc/version.h>`, which every release since 3.0 installs.
fn header_version(include: &[PathBuf]) -> Result<Version, String> {
    let places = include.iter().map(PathBuf::as_path).chain([Path::new("/usr/include")]);
    let header = places
        .map(|place| place.join("lxc/version.h"))
        .find(|path| path.exists())
        .ok_or("<lxc/version.h> is missing: install the Debian package `lxc-dev` or the Nix package `lxc`")?;
    println!("cargo::rerun-if-changed={}", header.display());
    let text =
        fs::read_to_string(&header).map_err(|error| format!("cannot read {}: {error}", header.display()))?;
    let number = |name: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix("#define "))
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok())
    };
    let need =
        |name: &str| number(name).ok_or_else(|| format!("{} does not define {name}", header.display()));
    Ok(Version {
        major: need("LXC_VERSION_MAJOR")?,
        minor: need("LXC_VERSION_MINOR")?,
        micro: need("LXC_VERSION_MICRO")?,
        devel: number("LXC_DEVEL").is_some_and(|value| value != 0),
    })
}

/// Runs bindgen. An error means that libclang is missing; anything else that goes wrong is a bug and panics.
fn generate(include: &[PathBuf]) -> Result<String, String> {
    let build = || {
        bindgen::Builder::default()
            .header("wrapper.h")
            .clang_args(include.iter().map(|path| format!("-I{}", path.display())))
            .rust_edition(bindgen::RustEdition::Edition2024)
            .use_core()
            .allowlist_function("lxc_.*|list_(defined|active|all)_containers")
            .allowlist_type("lxc_.*|migrate_.*|bdev_specs")
            .allowlist_var("LXC_.*|MIGRATE_.*|FEATURE_.*")
            // Its flags have no type to be named by; `src/attach.rs` has them as the `c_int` of the field.
            .blocklist_item(
                "_bindgen_ty_.*|LXC_ATTACH_(MOVE|DROP|SET|LSM|REMOUNT|NO|TERMINAL|DEFAULT|DETECT).*",
            )
            .default_enum_style(bindgen::EnumVariation::Consts)
            .prepend_enum_name(false)
            // A derived `Debug` or `Copy` reads the whole struct, past the end of what an older library allocated; a
            // derived `Default` would be uid 0 on fd 0.
            .derive_debug(false)
            .derive_default(false)
            .no_copy("lxc_container")
            .layout_tests(true)
            .generate_comments(false)
            .disable_header_comment()
            .merge_extern_blocks(true)
            .generate()
    };
    // bindgen panics when it cannot load libclang.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(build));
    panic::set_hook(hook);
    match outcome {
        Ok(Ok(bindings)) => Ok(bindings.to_string()),
        Ok(Err(error)) => panic!("bindgen refuses the installed headers: {error}"),
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("");
            if text.contains("libclang") { Err(first_line(text)) } else { panic::resume_unwind(payload) }
        }
    }
}

/// Takes the committed bindings, which were made on a 64-bit machine and hold for all of those.
fn pregenerated() -> Result<(), String> {
    if env::var("CARGO_CFG_TARGET_POINTER_WIDTH").as_deref() != Ok("64") {
        return Err(
            "the committed bindings are for 64-bit machines: install `lxc-dev` and `libclang-dev`".into()
        );
    }
    let text =
        fs::read_to_string(PREGENERATED).map_err(|error| format!("cannot read {PREGENERATED}: {error}"))?;
    let number = |name: &str| -> Result<u32, String> {
        let prefix = format!("pub const {name}: u32 = ");
        text.lines()
            .find_map(|line| line.strip_prefix(&prefix)?.strip_suffix(';')?.parse().ok())
            .ok_or_else(|| format!("{PREGENERATED} does not define {name}"))
    };
    let version = Version {
        major: number("LXC_VERSION_MAJOR")?,
        minor: number("LXC_VERSION_MINOR")?,
        micro: number("LXC_VERSION_MICRO")?,
        devel: false,
    };
    write(&text)?;
    announce(version);
    println!("cargo::rustc-cfg=lxc_pregenerated");
    Ok(())
}

fn write(text: &str) -> Result<(), String> {
    let out = env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?;
    let path = Path::new(&out).join("bindings.rs");
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The version that the bindings describe: cfgs for this crate, `DEP_LXC_VERSION` for the build scripts of dependents.
fn announce(version: Version) {
    println!("cargo::metadata=version={}.{}.{}", version.major, version.minor, version.micro);
    for (cfg, step) in STEPS {
        if version.has(step) {
            println!("cargo::rustc-cfg={cfg}");
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").trim().to_owned()
}
