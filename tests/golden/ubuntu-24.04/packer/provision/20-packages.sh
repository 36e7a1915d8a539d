#!/bin/sh
# Install the packages of the spec that are not there yet. A base that has them all needs no network.
set -eu
list=/tmp/multieip/packages

set --
if command -v apt-get > /dev/null; then
    while read -r package; do
        dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2> /dev/null | grep -qx installed \
            || set -- "$@" "$package"
    done < "$list"
    [ $# -gt 0 ] || exit 0
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold \
        --no-install-recommends install -- "$@"
else
    while read -r package; do
        rpm --quiet --query --whatprovides "$package" || set -- "$@" "$package"
    done < "$list"
    [ $# -gt 0 ] || exit 0
    dnf --assumeyes --setopt=retries=3 --setopt=install_weak_deps=False install -- "$@"
fi
