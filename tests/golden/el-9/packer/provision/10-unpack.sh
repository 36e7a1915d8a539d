#!/bin/sh
# Wait until the base's own first boot is over, then unpack what was uploaded.
set -eu

# A base may end with recoverable errors of its own (exit 2); what counts is that it is not still at work.
if command -v cloud-init > /dev/null; then
    cloud-init status --wait > /dev/null || true
fi
umask 077
rm -rf /tmp/multieip
mkdir /tmp/multieip
tar --extract --file /tmp/multieip-payload.tar --directory /tmp/multieip --no-same-owner --preserve-permissions
rm -f /tmp/multieip-payload.tar
