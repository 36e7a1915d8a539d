#!/bin/sh
# Lay rootfs/ over the system: files at their final path and mode, and the links that enable units.
set -eu
umask 022

# The tar holds no directories, so the modes of those that exist stay as they are.
tar --create --directory /tmp/multieip/rootfs --no-recursion --files-from /tmp/multieip/rootfs.list \
    | tar --extract --directory / --preserve-permissions --no-same-owner --keep-directory-symlink
if command -v restorecon > /dev/null; then
    (cd / && xargs -r restorecon -F < /tmp/multieip/rootfs.list)
fi
systemctl daemon-reload

# What the base's own network tools left would fight NetworkManager for the ENIs. The list has shell patterns.
while read -r pattern; do
    # shellcheck disable=SC2086 # a pattern of our own, to be expanded
    rm -rf -- $pattern
done < /tmp/multieip/leftovers
