# The two commands of the README, and what they consist of. All need root, since containers do.

CARGO ?= cargo
# How many tests on real LXC and Nix must have run; a run with fewer is a failure, not a success.
ROOT_TESTS ?= $(shell cat tests/root-tests)

.PHONY: demo test setup lint unit root-tests bindings bench clean

# The main job, shown: create, start, ping, update in place, roll back, stop, destroy.
demo: setup
	$(CARGO) build --quiet --release --locked -p nixcloud-container-cli
	scripts/demo.sh

# Everything that must hold before a change lands.
test: setup lint unit root-tests

setup:
	scripts/setup-debian.sh

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --workspace --no-deps --locked
	lxc-sys/regenerate.sh --check
	! command -v cargo-machete >/dev/null || cargo-machete

# The root scenarios have a target of their own.
unit: setup
	$(CARGO) build --quiet --workspace --all-targets --locked
	$(CARGO) test --workspace --locked --exclude nixcloud-container-tests
	$(CARGO) test --locked -p nixcloud-container-tests --test floors --test readme

root-tests: setup
	NIXCLOUD_EXPECT_ROOT_TESTS=$(ROOT_TESTS) $(CARGO) test --locked -p nixcloud-container-tests --test root
	NIXCLOUD_CONTAINER_BIN=$(CURDIR)/target/debug scripts/demo.sh >target/demo.log 2>&1 || { cat target/demo.log; exit 1; }

# Ours beside LXC's own tools, in one run. `cargo bench` only builds the timer and says where it is.
bench: setup
	$(CARGO) build --quiet --release --locked -p nixcloud-container-cli
	PAIRS=$$($(CARGO) bench --no-run --locked -p nixcloud-container-tests --bench pairs --message-format=json 2>/dev/null \
		| sed -n 's/.*"executable":"\([^"]*pairs[^"]*\)".*/\1/p') scripts/bench.sh
