#!/bin/sh
# Run as root in the booted image by `multieip image test`: one line for each check, "ok" or "failed", a tab, its
# name, a tab, what was seen. Arguments: the primary private IP, then the private IPs of the second ENI.
set -u
primary=$1
shift

check() { # NAME COMMAND…: the command says what it saw, and succeeds when that is right
    name=$1
    shift
    if seen=$("$@" 2>&1); then result=ok; else result=failed; fi
    printf '%s\t%s\t%s\n' "$result" "$name" "$(printf '%s' "$seen" | tr '\n\t' '; ')"
}

cloud_init_finished() {
    cloud-init status --wait > /dev/null
    cloud-init status --long | grep -E '^(status|detail|errors|DataSource)' || true
    cloud-init status | grep -qx 'status: done' && grep -q '"errors": \[\]' /run/cloud-init/result.json
}

found_the_metadata_service() { grep -o 'DataSource[A-Za-z]*' /run/cloud-init/result.json | grep -x DataSourceAliYun; }

cloud_init_left_the_network_alone() {
    for path in /etc/network/interfaces.d/50-cloud-init* /etc/netplan/*.yaml /etc/systemd/network/10-cloud-init-* \
        /etc/NetworkManager/system-connections/cloud-init-*; do
        [ ! -e "$path" ] || {
            echo "cloud-init wrote $path"
            return 1
        }
    done
}

nm_owns_the_enis() {
    nmcli --terse --fields DEVICE,STATE,CONNECTION device | grep '^eth'
    for eni in eth0 eth1; do
        nmcli --terse --fields DEVICE,STATE,CONNECTION device | grep -q "^$eni:connected:multieip-" || return 1
    done
}

default_route_is_the_primary() {
    ip -4 route show default
    [ "$(ip -4 route show default | wc -l)" -eq 1 ] && ip -4 route show default | grep -q ' dev eth0 '
}

primary_has_its_address() { ip -4 -o addr show dev eth0 | grep -F " $primary/"; }

second_eni_has_its_addresses() {
    for ip in "$@"; do
        ip -4 -o addr show dev eth1 | grep -qF " $ip/" || {
            echo "$ip is missing"
            return 1
        }
    done
    echo "$*"
}

# 192.0.2.1 (RFC 5737) is nobody's: what counts is the way that a reply to the internet would take.
replies_leave_by_their_eni() {
    for ip in "$@"; do
        ip -4 route get 192.0.2.1 from "$ip" | grep -q ' dev eth1 ' || {
            ip -4 route get 192.0.2.1 from "$ip"
            return 1
        }
    done
    ip -4 route get 192.0.2.1 from "$primary" | grep ' dev eth0 '
}

policy_routing_is_content() { multieip-policy-routing check; }

units_are_green() {
    systemctl --failed --no-legend --plain
    systemctl is-system-running --wait
    [ -z "$(systemctl --failed --no-legend --plain)" ]
}

sysctls_are_set() {
    for pair in all.rp_filter=2 all.arp_ignore=1 all.arp_announce=2; do
        [ "$(cat "/proc/sys/net/ipv4/conf/$(echo "${pair%=*}" | tr . /)")" = "${pair#*=}" ] || {
            echo "net.ipv4.conf.${pair%=*} is not ${pair#*=}"
            return 1
        }
    done
}

has_ids_of_its_own() { test -s /etc/machine-id && ls /etc/ssh/ssh_host_*_key; }

check 'cloud-init finished without errors' cloud_init_finished
check 'cloud-init found the metadata service' found_the_metadata_service
check 'cloud-init left the network alone' cloud_init_left_the_network_alone
check 'NetworkManager owns the ENIs with our profiles' nm_owns_the_enis
check 'the primary ENI has its address' primary_has_its_address
check 'the default route is the primary ENI' default_route_is_the_primary
check 'the second ENI has its private IPs' second_eni_has_its_addresses "$@"
check 'replies leave by the ENI of their private IP' replies_leave_by_their_eni "$@"
check 'policy routing is content' policy_routing_is_content
check 'sysctls are set' sysctls_are_set
check 'the instance has ids of its own' has_ids_of_its_own
check 'units are green' units_are_green
