#!/bin/sh
# Makes what a virtual machine of Debian needs, once:  image.sh CACHE
#
# CACHE/qemu     the emulator, unpacked from its packages (installed ones of another suite stay as they are)
# CACHE/disk     a root file system with systemd, LXC and Nix, its kernel and initrd beside it
# Needs root, and Debian's packages by apt. A second run does nothing, until this file changes.
set -eu

cache=$1
key=$(sha256sum <"$0" | cut -c 1-16)
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ "$(cat "$cache/key" 2>/dev/null)" = "$key" ]; then exit; fi
rm -rf --one-file-system "$cache/key" "$cache/qemu" "$cache/root" "$cache/disk" "$cache/debs"
say() { echo "vm: $*" >&2; }

say "unpacking the emulator"
mkdir -p "$cache/debs/partial" "$cache/qemu"
download() {
  apt-get install -y -q --reinstall --no-install-recommends --download-only -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root -o Dir::Cache::archives="$cache/debs" qemu-system-x86 mmdebstrap
}
download >"$cache/log" 2>&1 || { apt-get update -q && download; } >"$cache/log" 2>&1 || { cat "$cache/log" >&2; exit 1; }
for package in "$cache"/debs/*.deb; do dpkg-deb -x "$package" "$cache/qemu"; done
rm -r "$cache/debs"

say "making a Debian: half a minute"
# What it mounts is gone with it, however it ends.
PATH="$cache/qemu/usr/bin:$PATH" unshare --mount \
  mmdebstrap --mode=root --variant=minbase --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
  --include=systemd,systemd-sysv,systemd-timesyncd,dbus,udev,kmod,linux-image-cloud-amd64,initramfs-tools,zstd \
  --include=lxc,lxcfs,uidmap,apparmor,nix-bin,busybox-static,nftables,iptables,iproute2,iputils-ping,dnsmasq-base,systemd-resolved \
  --include=procps,hostname,util-linux,mount,libnss-systemd,libpam-runtime,libpam-modules,dbus-daemon,dbus-bin \
  bookworm "$cache/root" >"$cache/log" 2>&1 || { cat "$cache/log" >&2; exit 1; }
cp "$cache"/root/boot/vmlinuz-* "$cache/vmlinuz"
cp "$cache"/root/boot/initrd.img-* "$cache/initrd"
echo '/dev/vda / ext4 defaults 0 1' >"$cache/root/etc/fstab"
echo vm >"$cache/root/etc/hostname"
# LXC's own bridge and autostart are not ours, and a package's timers only cost time.
for unit in lxc.service lxc-net.service lxc-monitord.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-timesyncd.service; do
  ln -sf /dev/null "$cache/root/etc/systemd/system/$unit"
done

# The second disk is a tar with `script` and `files`, the second serial line takes what the script says.
cat >"$cache/root/usr/local/sbin/vm-script" <<'END'
#!/bin/sh
stty -F /dev/ttyS1 raw -echo 2>/dev/null
exec >/dev/ttyS1 2>&1 </dev/null
rm -rf /var/lib/vm && mkdir /var/lib/vm && tar -x -f /dev/vdb -C /var/lib/vm && cp -a /var/lib/vm/files/. /
cd /root && HOME=/root sh /var/lib/vm/script
echo "exit: $?"
sync
systemctl --no-block poweroff
END
chmod +x "$cache/root/usr/local/sbin/vm-script"
cat >"$cache/root/etc/systemd/system/vm-script.service" <<'END'
[Unit]
Description=What the host of this machine wants done
After=multi-user.target

[Service]
ExecStart=/usr/local/sbin/vm-script
END
mkdir -p "$cache/root/etc/systemd/system/graphical.target.wants"
ln -sf ../vm-script.service "$cache/root/etc/systemd/system/graphical.target.wants/"

truncate -s 6G "$cache/disk.new"
mkfs.ext4 -q -F -d "$cache/root" "$cache/disk.new"
mv "$cache/disk.new" "$cache/disk"
rm -rf --one-file-system "$cache/root"
echo "$key" >"$cache/key"
