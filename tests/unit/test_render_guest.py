from __future__ import annotations

import configparser
from typing import Any

import pytest

from generator.errors import MultieipError
from generator.render import guest, templates
from generator.render.files import File, Link
from generator.spec.distro import Distro
from generator.spec.image import ImageSpec

APT = (Distro.DEBIAN_12, Distro.UBUNTU_24_04)
UNITS = "etc/systemd/system"
PROFILES = "etc/NetworkManager/system-connections"


def spec(distro: Distro = Distro.DEBIAN_12, **network: Any) -> ImageSpec:
    document = {"version": 1, "name": "x1", "distro": distro, "base": {"ecs": {"id": "m-x"}}, "network": network}
    return ImageSpec.model_validate(document)


def text(tree: dict[str, File | Link], path: str) -> str:
    entry = tree[path]
    assert isinstance(entry, File)
    return entry.data.decode()


def keyfile(tree: dict[str, File | Link], path: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text(tree, path))
    return parser


@pytest.mark.parametrize("distro", Distro)
def test_profiles_are_readable_by_root_alone(distro: Distro) -> None:
    tree = guest.rootfs(spec(distro))
    modes = {
        path: entry.mode for path, entry in tree.items() if path.endswith(".nmconnection") and isinstance(entry, File)
    }
    assert modes == {f"{PROFILES}/multieip-primary.nmconnection": 0o600, f"{PROFILES}/multieip-eni.nmconnection": 0o600}


@pytest.mark.parametrize("distro", Distro)
def test_programs_and_nothing_else_are_executable(distro: Distro) -> None:
    tree = guest.rootfs(spec(distro))
    executable = {path for path, entry in tree.items() if isinstance(entry, File) and entry.mode & 0o111}
    scripts = {path for path, entry in tree.items() if isinstance(entry, File) and entry.data.startswith(b"#!")}
    assert executable == scripts == {guest.POLICY_ROUTING, "etc/NetworkManager/dispatcher.d/50-multieip-policy-routing"}


def test_the_primary_eni_has_the_lower_metric_and_the_higher_priority() -> None:
    tree = guest.rootfs(spec(primary_interface="ens5", primary_metric=7, secondary_metric=70))
    primary = keyfile(tree, f"{PROFILES}/multieip-primary.nmconnection")
    eni = keyfile(tree, f"{PROFILES}/multieip-eni.nmconnection")
    assert primary["connection"]["interface-name"] == "ens5"
    assert (primary["ipv4"]["route-metric"], eni["ipv4"]["route-metric"]) == ("7", "70")
    assert int(primary["connection"]["autoconnect-priority"]) > int(eni["connection"]["autoconnect-priority"]) > 120
    assert "!ens5" in eni["match"]["interface-name"].split(";")


def test_a_secondary_eni_never_gives_the_way_out_nor_name_servers() -> None:
    ipv4 = keyfile(guest.rootfs(spec()), f"{PROFILES}/multieip-eni.nmconnection")["ipv4"]
    assert [ipv4[key] for key in ("never-default", "ignore-auto-routes", "ignore-auto-dns")] == ["true"] * 3


def test_enis_to_leave_alone_are_left_alone_by_networkmanager_too() -> None:
    tree = guest.rootfs(spec(leave_alone=["eth3", "00:16:3e:aa:bb:cc", "eni-bp1abcdefgh", "ens1*"]))
    eni = keyfile(tree, f"{PROFILES}/multieip-eni.nmconnection")
    assert eni["match"]["interface-name"] == "eth*;en*;!eth0;!eth3;!ens1*;"
    assert eni["ethernet"]["mac-address-blacklist"] == "00:16:3E:AA:BB:CC;"
    matched = keyfile(tree, "etc/NetworkManager/conf.d/50-multieip.conf")["device-multieip"]["match-device"]
    assert matched.endswith(",except:interface-name:eth3,except:interface-name:ens1*,except:mac:00:16:3E:AA:BB:CC")
    lines = text(tree, "etc/multieip/policy-routing.conf").splitlines()
    assert "LEAVE_ALONE=eth3 00:16:3e:aa:bb:cc eni-bp1abcdefgh ens1*" in lines


def test_the_script_gets_every_setting_as_a_plain_line() -> None:
    tree = guest.rootfs(spec(table_base=2000, rule_priority=3000, primary_metric=5, secondary_metric=50))
    lines = [line for line in text(tree, "etc/multieip/policy-routing.conf").splitlines() if not line.startswith("#")]
    assert lines == [
        "TABLE_BASE=2000",
        "RULE_PRIORITY=3000",
        "PRIMARY_INTERFACE=eth0",
        "PRIMARY_METRIC=5",
        "SECONDARY_METRIC=50",
        "LEAVE_ALONE=",
    ]


def test_the_refresh_interval_replaces_the_timers_own_and_keeps_its_other_triggers() -> None:
    tree = guest.rootfs(spec(refresh_interval=17))
    timer = text(tree, f"{UNITS}/multieip-policy-routing.timer").splitlines()
    drop_in = text(tree, f"{UNITS}/multieip-policy-routing.timer.d/50-interval.conf").splitlines()
    assert drop_in[1:3] == ["[Timer]", "OnUnitActiveSec="]
    triggers = [line for line in timer if line.startswith("On")]
    assert [line.partition("=")[0] for line in drop_in[3:]] == [line.partition("=")[0] for line in triggers]
    assert [line for line in drop_in[3:] if line.endswith("=17s")] != []
    assert {line for line in drop_in[3:] if not line.startswith("OnUnit")} <= set(triggers)


@pytest.mark.parametrize("distro", Distro)
def test_units_are_enabled_where_their_install_sections_say(distro: Distro) -> None:
    tree = guest.rootfs(spec(distro))
    own = [path for path in tree if path.startswith(f"{UNITS}/multieip-") and path.count("/") == 3]
    assert own
    for path in own:
        unit = path.rpartition("/")[2]
        wanted = [line.partition("=")[2] for line in text(tree, path).splitlines() if line.startswith("WantedBy=")]
        for target in wanted:
            assert tree[f"{UNITS}/{target}.wants/{unit}"] == Link(f"../{unit}")


@pytest.mark.parametrize("distro", Distro)
def test_rivals_are_masked(distro: Distro) -> None:
    tree = guest.rootfs(spec(distro))
    masked = {path.rpartition("/")[2] for path, entry in tree.items() if entry == Link("/dev/null")}
    assert masked == set(spec(distro).traits.disable) != set()


@pytest.mark.parametrize("distro", Distro)
def test_cloud_init_runs_after_networkmanager_where_the_package_orders_it_before(distro: Distro) -> None:
    tree = guest.rootfs(spec(distro))
    assert (f"{UNITS}/cloud-init.service" in tree) is (distro in APT)
    if distro in APT:
        unit = text(tree, f"{UNITS}/cloud-init.service")
        assert "sysinit.target" not in "".join(line for line in unit.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize(("interface", "arguments"), [("eth0", ("net.ifnames=0",)), ("ens5", ()), ("enp0s5", ())])
def test_kernel_names_are_asked_for_only_when_the_spec_counts_on_them(
    interface: str, arguments: tuple[str, ...]
) -> None:
    asked = spec(primary_interface=interface)
    assert guest.kernel_arguments(asked) == arguments
    assert ("etc/default/grub.d/50-multieip.cfg" in guest.rootfs(asked)) is bool(arguments)


def test_nothing_of_ours_is_among_the_leftovers() -> None:
    from fnmatch import fnmatchcase

    for distro in Distro:
        for path in guest.rootfs(spec(distro)):
            assert not [pattern for pattern in guest.LEFTOVERS if fnmatchcase(f"/{path}", pattern)], path


def test_a_missing_script_is_one_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> bytes:
        return templates.static(f"no-such-folder/{name}")

    monkeypatch.setattr(guest, "static", gone)
    with pytest.raises(MultieipError, match=r"templates/no-such-folder/"):
        guest.rootfs(spec())
