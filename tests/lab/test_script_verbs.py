"""The verbs of the reconciler, the static form, and the service around it."""

from __future__ import annotations

import json
import re
import time

from generator.sandbox.fabric import filters
from tests.lab.conftest import NewLab
from tests.lab.disturbances import BOOT, EVENT
from tests.lab.lab import Lab
from tests.lab.test_script_metadata import SCRIPT, booted, state


def test_status_shows_each_address_with_its_rule_and_route(lab: Lab) -> None:
    table = lab.run(f"{SCRIPT} status")
    for eni in lab.enis():
        for ip in eni.addresses:
            assert re.search(rf"^{eni.id} +eth\d +\S+ +{ip} +ok +(ok|-) +(ok|-)$", table, re.MULTILINE)
    shown = json.loads(lab.run(f"{SCRIPT} status --json"))
    assert [eni["id"] for eni in shown["enis"]] == [eni.id for eni in lab.enis()]
    assert [eni["table"] for eni in shown["enis"]] == [None, 1001, 1002]
    assert shown["problems"] == []


def test_check_names_what_is_missing_and_since_when(lab: Lab) -> None:
    assert lab.run(f"{SCRIPT} check").startswith("ok: ")
    lab.run("systemctl stop multieip-policy-routing.timer")
    lab.run("ip rule del pref 10002")
    gone = lab.run(f"{SCRIPT} check || echo exit $?", check=False)
    assert "eth2: rule " in gone
    assert "exit 1" in gone
    assert "timer is not active" in gone
    lab.set_metadata(filters.REFUSED)
    lab.run(f"{SCRIPT} apply", check=False)
    first = lab.run(f"{SCRIPT} check", check=False)
    assert re.search(r"does not answer at http://100\.100\.100\.200 \(since 20\d\d-", first)
    assert "eth2" not in first, "the rule is mended without the metadata service"
    time.sleep(1.2)
    lab.run(f"{SCRIPT} apply", check=False)
    assert lab.run(f"{SCRIPT} check", check=False) == first
    lab.end_faults()
    lab.run(f"systemctl start multieip-policy-routing.timer; {SCRIPT} apply")
    assert lab.run(f"{SCRIPT} check").startswith("ok: ")


def test_check_and_status_need_no_privileges(lab: Lab) -> None:
    as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all"
    assert lab.run(f"{as_nobody} {SCRIPT} check").startswith("ok: ")
    assert json.loads(lab.run(f"{as_nobody} {SCRIPT} status --json"))["enis"]
    assert "as root" in lab.run(f"{as_nobody} {SCRIPT} apply 2>&1", check=False)


def test_wrong_usage_is_exit_code_2(lab: Lab) -> None:
    for arguments in ("", "restart", "apply now", "status --yaml"):
        assert "exit 2" in lab.run(f"{SCRIPT} {arguments} 2> /dev/null || echo exit $?", check=False)


def test_the_layout_in_files_needs_no_metadata_service(new_lab: NewLab) -> None:
    lab = new_lab()
    lab.set_metadata(filters.DROPPED)
    folder = lab.container.upper / "etc/multieip/eni.d"
    folder.mkdir(parents=True)
    zero, one, two = lab.enis()
    for name, number, eni in (("0", "eth0", zero), ("1", "1", one), ("2", two.mac, two)):
        first, *more = eni.addresses
        length = eni.vswitch.cidr.prefixlen
        addresses = " ".join([f"{first}/{length}", *map(str, more)])
        (folder / f"{name}.conf").write_text(f"ENI={number}\nADDRESSES={addresses}\nGATEWAY={eni.vswitch.gateway}\n")
    booted(lab)
    assert list(lab.service.log) == []
    before = state(lab)
    # A file that is wrong counts for nothing, and its ENI keeps what it has.
    lab.run("echo 'ADDRESSES=1.2.3.4;reboot' >> /etc/multieip/eni.d/1.conf")
    lab.run(f"{SCRIPT} apply", check=False)
    assert state(lab) == before
    assert "1.conf" in lab.run(f"{SCRIPT} check", check=False)


def test_the_service_runs_behind_a_sandbox(lab: Lab) -> None:
    verdict = lab.run("systemd-analyze security --no-pager multieip-policy-routing.service | tail -1", check=False)
    exposure = re.search(r"(\d+\.\d)", verdict)
    assert exposure is not None
    assert float(exposure[1]) < 3.0, verdict


def test_an_event_during_a_run_gets_a_run_of_its_own(lab: Lab) -> None:
    """systemd merges a start into one that is under way, so the event must outlive it."""
    lab.run("systemctl stop multieip-policy-routing.timer")
    # The lock holds the run that the first event starts in its place; what breaks meanwhile is told by the second.
    lab.run("flock /run/multieip/lock sleep 2 & sleep 0.2; nmcli device reapply eth2; sleep 0.5")
    lab.run("ip rule del pref 10002; nmcli device reapply eth1")
    repair = lab.watch(EVENT)
    lab.run("systemctl start multieip-policy-routing.timer")
    assert repair.after is not None
    assert repair.after < EVENT


def test_a_run_that_was_killed_leaves_no_lock(lab: Lab) -> None:
    lab.run(f"sh -c '{SCRIPT} apply & sleep 0.03; kill -9 $!'", check=False)
    began = time.monotonic()
    lab.run(f"{SCRIPT} apply")
    assert time.monotonic() - began < EVENT


def test_the_boot_is_not_reached_before_the_addresses_are_there(new_lab: NewLab) -> None:
    lab = new_lab()
    lab.container.upper.joinpath("etc/systemd/system/multi-user.target.wants").mkdir(parents=True, exist_ok=True)
    unit = "[Unit]\nAfter=network-online.target\nWants=network-online.target\n[Service]\nType=oneshot\n"
    unit += "ExecStart=/bin/sh -c 'ip rule show > /run/seen'\n[Install]\nWantedBy=multi-user.target\n"
    lab.container.upper.joinpath("etc/systemd/system/late.service").write_text(unit)
    lab.container.upper.joinpath("etc/systemd/system/multi-user.target.wants/late.service").symlink_to(
        "../late.service"
    )
    booted(lab)
    deadline = time.monotonic() + BOOT
    while not lab.run("cat /run/seen", check=False):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert lab.run("cat /run/seen").count("lookup 100") == sum(len(eni.addresses) for eni in lab.enis()[1:])
