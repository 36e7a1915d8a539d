#!/bin/sh
# Put the kernel's arguments where this distribution's boot loader finds them.
set -eu

if command -v grubby > /dev/null; then
    while read -r argument; do
        grubby --update-kernel=ALL --args="$argument"
    done < /tmp/multieip/kernel-args
elif command -v update-grub > /dev/null; then
    # The arguments are in /etc/default/grub.d, laid down with rootfs/.
    update-grub 2>&1
fi
