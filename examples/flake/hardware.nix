# What `nixos-generate-config` writes for this host: file systems, boot loader.
{ }
