# The two commands of the README, and what they consist of. All need root, since containers do.

CARGO ?= cargo

# Where `make install` puts things: below DESTDIR, which a package sets.
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
DATADIR ?= $(PREFIX)/share
UNITDIR ?= $(PREFIX)/lib/systemd/system
# The folder of the built programs.
BUILT ?= target/release

# Of this repository: what people read, and what they begin with.
PAGES = README.md CHANGELOG.md LICENSE docs examples

.PHONY: demo test setup lint package unit pure root-tests attack faults soak hogs memcheck vm-test vm-attack install-test bindings bench bench-before bench-store build install uninstall

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
	$(CARGO) clippy --quiet --locked -p nixcloud-container --no-default-features --target-dir target/pure -- -D warnings
	lxc-sys/regenerate.sh --check
	$(CARGO) package --quiet --offline --locked --allow-dirty --no-verify -p nixcloud-lxc-sys -p nixcloud-container -p nixcloud-container-cli
	! command -v cargo-machete >/dev/null || cargo-machete

# What could be published, built from its packages where there is no liblxc, and the documentation there. Minutes.
package: setup
	scripts/package.sh

# The root scenarios have a target of their own.
unit: setup
	$(CARGO) build --quiet --workspace --all-targets --locked
	$(CARGO) test --workspace --locked --exclude nixcloud-container-tests
	$(CARGO) test --locked -p nixcloud-container-tests --test floors --test readme --test api

# A program that embeds the library without liblxc, for a scenario. In a folder of its own: in one with the others cargo would give
# the library the features of all.
pure: setup
	$(CARGO) build --quiet --locked -p embed --no-default-features --target-dir target/pure

# A run that leaves one of the scenarios out is a failure, not a success.
root-tests: setup pure
	$(CARGO) test --locked -p nixcloud-container-tests --test nix
	NIXCLOUD_EXPECT_ALL_ROOT_TESTS=1 $(CARGO) test --locked -p nixcloud-container-tests --test root
	NIXCLOUD_CONTAINER_BIN=$(CURDIR)/target/debug scripts/demo.sh >target/demo.log 2>&1 || { cat target/demo.log; exit 1; }

# Guest root against 10,000 entries into its guest; `make test` has a short form of it. Minutes.
attack: setup
	$(CARGO) build --quiet --workspace --all-targets --locked
	NIXCLOUD_TEST_ENTRIES=10000 NIXCLOUD_TEST_LIMIT=7200 $(CARGO) test --quiet --locked -p nixcloud-container-tests --test root -- \
		root_nobody_who_enters_a_guest_is_taken_over_busybox

# A thousand rounds in one process that embeds the library: its files, threads, memory, signals, environment stay what they were.
# `make test` has a short form of it. Minutes.
soak: setup
	$(CARGO) build --quiet --workspace --all-targets --locked
	NIXCLOUD_TEST_ROUNDS=1000 NIXCLOUD_TEST_LIMIT=7200 $(CARGO) test --quiet --locked -p nixcloud-container-tests --test root -- \
		root_rounds_leave_the_caller_as_it_was

# Operations killed and failed at calls of the kernel: what is stuck, leaked or silent then. `make test` has a short form of it (the
# scenarios of crash.rs, half_way.rs and cgroups.rs); the longer this one runs, the more calls it gets to: its
# table says how many of each operation.
FAULTS_SECONDS ?= 900

faults: setup
	$(CARGO) build --quiet --workspace --all-targets --locked
	nice python3 tests/faults/faults.py target/debug/nixcloud-container --seconds $(FAULTS_SECONDS)

# A guest that takes all it can of one thing after the other, in a small machine in this one, and how slow the host and a neighbour
# are meanwhile: the table of docs/security.md. Minutes.
hogs: setup
	$(CARGO) build --quiet --release --locked -p nixcloud-container-cli
	python3 tests/hogs/hogs.py target/release/nixcloud-container

# The calls of liblxc under valgrind, CALLS of each: an access that is none of ours, or memory that nobody frees, fails it
# (docs/reliability.md). Minutes.
CALLS ?= 10000

memcheck: setup
	$(CARGO) build --quiet --workspace --all-targets --locked
	command -v valgrind >/dev/null || apt-get install -y -q --no-install-recommends valgrind
	NXC_VALGRIND=$(CURDIR)/target/memcheck.log NXC_MEMORY_ROUNDS=$(CALLS) \
		$(CARGO) test --quiet --locked --workspace --exclude nixcloud-container-tests --test lxc_module -- root_calls_of_liblxc
	tail -n 12 target/memcheck.log

# A boot of a real machine, in software: minutes, so `make test` does without.
vm-test:
	$(CARGO) build --quiet --locked -p nixcloud-container -p nixcloud-container-cli
	tests/vm/boot.sh

# Guest root against a host with AppArmor and cgroup v2 alone, which this machine need not be: the scenarios of attacks and limits
# in a virtual machine, in software.
vm-attack: setup
	tests/vm/attack.sh

# The Install section of the README, to the letter, in an empty Debian 12 without network or units of this machine's: it
# downloads and builds, minutes, so `make test` does without.
install-test:
	tests/install.sh

# Ours beside LXC's own tools, in one run. `cargo bench` only builds the timer and says where it is.
bench: setup
	$(CARGO) build --quiet --release --locked -p nixcloud-container-cli
	built=$$($(CARGO) bench --no-run --locked -p nixcloud-container-tests --benches --message-format=json 2>/dev/null \
		| sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'); \
	PAIRS=$$(echo "$$built" | grep /pairs-) MANY=$$(echo "$$built" | grep /many-) scripts/bench.sh

# What a change of ours cost: this tree's program beside that of another tree, BEFORE, in which `make build` ran.
bench-before: build
	built=$$($(CARGO) bench --no-run --locked -p nixcloud-container-tests --benches --message-format=json 2>/dev/null \
		| sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'); \
	PAIRS=$$(echo "$$built" | grep /pairs-) scripts/bench-before.sh

# What `store = "closure"` costs beside `"full"`, in guests of both kinds. Minutes; ROUNDS, GUESTS and SIZES say how much.
bench-store: setup
	$(CARGO) build --quiet --release --locked -p nixcloud-container-cli
	scripts/bench-store.py

build:
	$(CARGO) build --quiet --release --locked -p nixcloud-container -p nixcloud-container-cli

# What a package has: it calls this after its own build. The programs print their pages and completions themselves.
install:
	@test -x $(BUILT)/nixcloud-container || { echo "run \`make build\` first" >&2; exit 1; }
	install -D -m 755 $(BUILT)/nixcloud-container $(DESTDIR)$(BINDIR)/nixcloud-container
	install -D -m 755 $(BUILT)/nixcloud-container-worker $(DESTDIR)$(LIBEXECDIR)/nixcloud-container-worker
	install -D -m 644 nixcloud-container/config.toml $(DESTDIR)$(DATADIR)/doc/nixcloud-container/config.toml
	find $(PAGES) -type f ! -path '*/target/*' -exec install -D -m 644 '{}' '$(DESTDIR)$(DATADIR)/doc/nixcloud-container/{}' ';'
	install -d $(DESTDIR)$(DATADIR)/bash-completion/completions $(DESTDIR)$(DATADIR)/zsh/site-functions $(DESTDIR)$(DATADIR)/fish/vendor_completions.d
	$(BUILT)/nixcloud-container completions bash >$(DESTDIR)$(DATADIR)/bash-completion/completions/nixcloud-container
	$(BUILT)/nixcloud-container completions zsh >$(DESTDIR)$(DATADIR)/zsh/site-functions/_nixcloud-container
	$(BUILT)/nixcloud-container completions fish >$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/nixcloud-container.fish
	$(BUILT)/nixcloud-container man --output $(DESTDIR)$(DATADIR)/man
	install -d $(DESTDIR)$(UNITDIR)
	for unit in systemd/*.service systemd/*.timer; do \
		sed 's|/usr/bin/nixcloud-container|$(BINDIR)/nixcloud-container|' "$$unit" >$(DESTDIR)$(UNITDIR)/$${unit##*/} || exit 1; \
	done

# Takes away what `install` put there, with the same variables. Folders that other packages use, too, stay; so do
# containers and what `host up` made, which are the program's own to remove: `destroy`, `host down`.
uninstall:
	rm -f $(DESTDIR)$(BINDIR)/nixcloud-container $(DESTDIR)$(LIBEXECDIR)/nixcloud-container-worker
	rm -f $(DESTDIR)$(DATADIR)/bash-completion/completions/nixcloud-container
	rm -f $(DESTDIR)$(DATADIR)/zsh/site-functions/_nixcloud-container
	rm -f $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/nixcloud-container.fish
	rm -f $(DESTDIR)$(DATADIR)/man/man1/nixcloud-container.1 $(DESTDIR)$(DATADIR)/man/man1/nixcloud-container-*.1
	rm -f $(DESTDIR)$(DATADIR)/man/man5/nixcloud-container.toml.5
	for unit in systemd/*.service systemd/*.timer; do rm -f $(DESTDIR)$(UNITDIR)/$${unit##*/}; done
	rm -rf $(DESTDIR)$(DATADIR)/doc/nixcloud-container
