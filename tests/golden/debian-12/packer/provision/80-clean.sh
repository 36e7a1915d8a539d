#!/bin/sh
# Remove what belongs to this one boot, so that each instance makes its own: ids, keys, leases, logs, history.
# The image must not carry these: k8s image-builder's sysprep and virt-sysprep have the same list.
set -eu

# These services would write their state again when the machine goes down.
systemctl stop NetworkManager.service systemd-random-seed.service systemd-timesyncd.service 2> /dev/null || true
rm -f /run/network/ifstate* /var/lib/systemd/random-seed
journalctl --relinquish-var > /dev/null 2>&1 || true

cloud-init clean --logs --seed > /dev/null
rm -rf /var/lib/cloud /var/log/cloud-init*.log
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/hostid
rm -f /etc/ssh/ssh_host_*
rm -f /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys
rm -rf /var/lib/NetworkManager/* /var/lib/dhcp/* /var/lib/dhclient/* /var/lib/systemd/timesync/* /var/lib/multieip/*
rm -f /etc/udev/rules.d/70-persistent-net.rules /etc/resolv.conf.dhclient-new.*

if command -v apt-get > /dev/null; then
    apt-get clean
    rm -rf /var/lib/apt/lists/*
else
    dnf clean all > /dev/null
    rm -rf /var/cache/dnf
fi

rm -rf /var/log/journal/* /var/crash/* /var/lib/systemd/coredump/*
find /var/log -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.old' -o -name '*.[0-9]' \) -delete
find /var/log -type f -exec truncate --size 0 {} +
rm -f /root/.bash_history /home/*/.bash_history /root/.lesshst /root/.viminfo /root/.wget-hsts
find /var/tmp -mindepth 1 -delete 2> /dev/null || true
# The running scripts and what they read stay until the last of them.
find /tmp -mindepth 1 -maxdepth 1 ! -name multieip ! -name 'script_*' -exec rm -rf {} +
