#!/bin/sh
# rustdoc for `tests/api`: its output as JSON is not stable yet, and this says that it is wanted all the same. Of rustdoc alone: a
# compiler that is told so makes all that is built ask for more.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
