//! Makes many containers of one that was created, for `scripts/bench.sh`: `many ROOT NAME COUNT`.

use std::path::Path;

use nixcloud_container_tests::many::Original;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Under `cargo test` and `cargo bench` there is nothing to make.
    let [root, name, count] = &arguments[..] else { return Ok(()) };
    let original = Original { root: Path::new(root), name };
    Ok(original.multiply(count.parse()?, |n| format!("{name}-{n:05}"))?)
}
