//! FFI bindings to liblxc.
