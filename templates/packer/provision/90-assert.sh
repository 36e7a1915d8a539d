#!/bin/sh
# Look at the image from inside before it is taken: everything of ours is there, nothing of this boot is.
# Every assertion is tried; one that fails is named on a line of its own and fails the build.
set -u
export LC_ALL=C
failed=0

assert() { # WHAT COMMAND…: the command must succeed
    what=$1
    shift
    if ! "$@" > /tmp/multieip/said 2>&1; then
        printf 'ASSERTION FAILED: %s\n' "$what"
        sed 's/^/    /' /tmp/multieip/said
        failed=1
    fi
}

absent() { # no path that the patterns name is there; a pattern without a match stays as it is
    for path in "$@"; do
        if [ -e "$path" ] || [ -L "$path" ]; then
            echo "$path is there"
            return 1
        fi
    done
}

files_as_rendered() { (cd / && sha256sum --check --quiet --strict /tmp/multieip/rootfs.sha256); }

modes_as_rendered() {
    while read -r mode path; do
        [ "$(stat --format '%a %U:%G' "/$path")" = "$mode root:root" ] || {
            echo "/$path is $(stat --format '%a %U:%G' "/$path"), not $mode root:root"
            return 1
        }
    done < /tmp/multieip/rootfs.modes
}

links_as_rendered() {
    while read -r path target; do
        [ "$(readlink "/$path")" = "$target" ] || {
            echo "/$path does not lead to $target"
            return 1
        }
    done < /tmp/multieip/rootfs.links
}

leftovers_gone() {
    while read -r pattern; do
        # shellcheck disable=SC2086 # a pattern of our own, to be expanded
        absent $pattern || return 1
    done < /tmp/multieip/leftovers
}

override_has_the_last_word() { # cloud-init reads cloud.cfg.d in the order of its names; the last "network:" counts
    later=no
    for file in /etc/cloud/cloud.cfg.d/*.cfg; do
        if [ "$file" = /etc/cloud/cloud.cfg.d/99-disable-network-config.cfg ]; then
            later=yes
        elif [ "$later" = yes ] && grep -q '^network:' "$file"; then
            echo "$file comes after it"
            return 1
        fi
    done
    [ "$later" = yes ]
}

packages_installed() {
    while read -r package; do
        if command -v dpkg-query > /dev/null; then
            dpkg-query --show --showformat='${db:Status-Status}\n' "${package%%[=/]*}" | grep -qx installed
        else
            rpm --quiet --query --whatprovides "$package"
        fi || {
            echo "$package is not installed"
            return 1
        }
    done < /tmp/multieip/packages
}

assert 'files are those of rootfs/' files_as_rendered
assert 'files have the modes of rootfs/' modes_as_rendered
assert 'links are those of rootfs/' links_as_rendered
assert 'packages are installed' packages_installed
assert 'other network tools left nothing' leftovers_gone
assert 'the network override has the last word' override_has_the_last_word
assert 'units are enabled' systemctl is-enabled NetworkManager.service multieip-policy-routing.service multieip-policy-routing.timer
assert 'units are well formed' systemd-analyze verify /etc/systemd/system/multieip-policy-routing.service \
    /etc/systemd/system/multieip-policy-routing.timer
assert 'NetworkManager reads its configuration' NetworkManager --print-config
assert 'machine-id is empty' test ! -s /etc/machine-id
assert 'no host keys' absent /etc/ssh/ssh_host_*
assert 'no authorized keys' absent /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys
assert 'no cloud-init state' absent /var/lib/cloud/data/instance-id /var/lib/cloud/instance /var/log/cloud-init.log
assert 'no leases' absent /var/lib/NetworkManager/*.lease /var/lib/dhcp/*.leases /var/lib/dhclient/*.leases
assert 'no shell history' absent /root/.bash_history /home/*/.bash_history
assert 'no core dumps' absent /var/crash/* /var/lib/systemd/coredump/*

[ "$failed" -eq 0 ] || exit 1
# Who builds decides by it whether instances may be launched with hardened metadata.
printf 'IMAGE HAS cloud-init %s\n' "$(cloud-init --version 2>&1 | grep -o '[0-9][0-9.]*' | head -n 1)"
rm -rf /tmp/multieip
fstrim --all 2> /dev/null || true
sync
