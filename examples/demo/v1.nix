# The demo, first version. `make demo` creates a container from it, updates it to v2.nix and rolls it back.
import ./service.nix "1"
