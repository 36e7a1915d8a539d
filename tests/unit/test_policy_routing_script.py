"""The reconciler's parts that need neither root nor a network: what it makes of answers, files and kernel listings."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator import resources

FOLDER = resources.folder("templates") / "policy-routing"
SCRIPT = FOLDER / "multieip-policy-routing"
PRIMARY, SECONDARY = "00:16:3e:00:00:01", "00:16:3e:00:00:02"
DEVICES = f"dev eth0 {PRIMARY} 2 up mine\ndev eth1 {SECONDARY} 3 up mine"
GOOD = {
    "private-ipv4s": '["10.0.1.5","10.0.1.7","10.0.1.6"]',
    "primary-ip-address": "10.0.1.5",
    "netmask": "255.255.255.0",
    "gateway": "10.0.1.253",
}
RECORD = f"rec {SECONDARY} - 10.0.1.5 24 10.0.1.253 10.0.1.5,10.0.1.6,10.0.1.7 - - -"

SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


@cache
def library() -> str:
    """Return the script without its last line, which runs it."""
    lines = SCRIPT.read_text().rstrip().splitlines()
    assert lines[-1] == 'main "$@"'
    return "\n".join(lines[:-1])


def call(function: str, variables: dict[str, str], shell: Sequence[str] = ("sh",)) -> list[str]:
    """Return what a function of the script prints, with these variables set."""
    assignments = "INPUT_CONFIG='cfg 1001 10001 eth0 1000 64 100'\n" + "".join(
        f'{name}="${name}_"\n' for name in variables
    )
    done = subprocess.run(
        [*shell, "-c", f"{library()}\n{assignments}{function}"],
        env={"PATH": "/usr/bin:/bin", **{f"{name}_": value for name, value in variables.items()}},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def answers(**changed: str | None) -> str:
    """Return answers about the secondary ENI as `transfer` hands them on; None is an answer that did not come."""
    keys = {**GOOD, **{key.replace("_", "-"): value for key, value in changed.items()}}
    lines = [f"ans mac 200 {PRIMARY}", f"ans {SECONDARY}|ipv6s 404 "]
    lines += [f"ans {SECONDARY}|{key} 200 {value}" for key, value in keys.items() if value is not None]
    return "\n".join(lines)


def records(answer: str, known: str = "") -> list[str]:
    lines = call("interpret", {"DEVICES": DEVICES, "RECORDS": known, "ANSWERS": answer})
    return [line for line in lines if line.startswith("rec ")]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_every_shell_reads_the_script(shell: list[str]) -> None:
    for path in (SCRIPT, FOLDER / "dispatcher"):
        subprocess.run([*shell, "-n", str(path)], check=True, timeout=30)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_every_shell_makes_the_same_record(shell: list[str]) -> None:
    assert RECORD in call("interpret", {"DEVICES": DEVICES, "RECORDS": "", "ANSWERS": answers()}, shell)


def test_a_list_may_be_json_or_bare_or_lines() -> None:
    for text in (
        "[10.0.1.5, 10.0.1.6 ,10.0.1.7]",
        "10.0.1.5\00210.0.1.6\00210.0.1.7",
        '["10.0.1.7","10.0.1.5","10.0.1.6"]',
    ):
        assert records(answers(private_ipv4s=text)) == [RECORD]


@pytest.mark.parametrize("key", GOOD)
def test_an_answer_that_is_missing_keeps_what_is_known(key: str) -> None:
    name = key.replace("-", "_")
    assert records(answers(**{name: None})) == []
    assert records(answers(**{name: None}), RECORD) == [RECORD]


@pytest.mark.parametrize(
    "changed",
    [
        {"gateway": "10.0.2.253"},
        {"gateway": "10.0.1.5"},
        {"netmask": "255.0.255.0"},
        {"netmask": "255.255.255.255"},
        {"netmask": "24"},
        {"primary_ip_address": "10.0.1.9"},
        {"private_ipv4s": "[]"},
        {"private_ipv4s": '["10.0.1.5","10.0.2.6"]'},
        {"private_ipv4s": '["10.0.1.5","127.0.0.1"]'},
        {"private_ipv4s": '["10.0.1.5","10.0.1.06"]'},
        {"private_ipv4s": '["10.0.1.5","10.0.1.6'},
        {"private_ipv4s": "[" + ",".join(f"10.0.{i}.{j}" for i in range(2) for j in range(1, 200)) + "]"},
    ],
    ids=str,
)
def test_answers_that_cannot_be_true_are_refused_whole(changed: dict[str, str]) -> None:
    assert records(answers(**changed)) == []
    assert records(answers(**changed), RECORD) == [RECORD]


@settings(max_examples=60, deadline=None)
@given(
    key=st.sampled_from(sorted(GOOD)),
    # What `transfer` lets through: printable ASCII, and its marks for line breaks and for everything else.
    body=st.text("".join(map(chr, range(0x20, 0x7F))) + "\001\002", max_size=80)
    | st.sampled_from(["$(reboot)", "`id`", "10.0.1.5;id", "10.0.1.5\002[ipv4]", '"10.0.1.5"', "../../etc/passwd"]),
)
def test_nothing_but_addresses_gets_into_a_record(key: str, body: str) -> None:
    for line in records(answers(**{key.replace("-", "_"): body})):
        _, mac, eni, primary, prefix, gateway, ips, *six = line.split(" ")
        assert (mac, eni, six) == (SECONDARY, "-", ["-", "-", "-"])
        network = ipaddress.ip_network(f"{primary}/{prefix}", strict=False)
        assert all(ipaddress.ip_address(ip) in network for ip in [gateway, *ips.split(",")])


def test_ipv6_addresses_compare_whatever_their_spelling() -> None:
    bodies = {
        "ipv6s": "[2408:4005:0:1::a, 2408:4005:0:1:0:0:0:b]",
        "ipv6-gateway": "2408:4005:0:1::fff7",
        "vswitch-ipv6-cidr-block": "2408:4005:0:1::/64",
    }
    text = answers().replace(f"ans {SECONDARY}|ipv6s 404 \n", "")
    text += "".join(f"\nans {SECONDARY}|{key} 200 {body}" for key, body in bodies.items())
    (record,) = records(text)
    assert record.split(" ")[7:] == [
        "2408:4005:0:1:0:0:0:a,2408:4005:0:1:0:0:0:b",
        "2408:4005:0:1:0:0:0:fff7",
        "2408:4005:0:1::/64",
    ]


def test_an_empty_answer_takes_no_ipv6_address_away() -> None:
    known = RECORD.replace("- - -", "2408:0:0:0:0:0:0:a 2408:0:0:0:0:0:0:fff7 2408::/64")
    empty = answers().replace("|ipv6s 404 ", "|ipv6s 200 ")
    assert records(empty) == [RECORD]
    assert records(empty, known) == [known]
    assert records(answers(), known) == [RECORD]


def test_the_configured_interface_is_the_primary_one_until_the_service_says_which_is() -> None:
    silent = answers().replace(f"ans mac 200 {PRIMARY}", "ans mac 404 ")
    variables = {"DEVICES": DEVICES, "RECORDS": "", "ANSWERS": silent}
    assert f"primary {PRIMARY}" in call("interpret", variables)
    other = {**variables, "RECORDS": f"primary {SECONDARY}"}
    assert f"primary {SECONDARY}" in call("interpret", other)


@given(st.ip_addresses(v=6))
@settings(max_examples=40, deadline=None)
def test_every_spelling_of_an_ipv6_address_is_the_same(address: ipaddress.IPv6Address) -> None:
    program = 'awk "$AWK_CHECKS"\'BEGIN { print full6(ARGV[1]); print full6(ARGV[2]) }\' "$ONE" "$TWO"'
    short, long = call(program, {"ONE": str(address), "TWO": address.exploded})
    assert short == long
    assert ipaddress.ip_address(short) == address


def desired(devices: str, numbers: str = "", **options: str) -> list[list[str]]:
    macs = [line.split()[2] for line in devices.splitlines()]
    known = "\n".join(f"rec {mac} - 10.0.{at}.5 24 10.0.{at}.253 10.0.{at}.5 - - -" for at, mac in enumerate(macs))
    # `desire` reads the numbers from a file, with `slurp`.
    function = 'slurp() { TEXT=$NUMBERS_FILE; }; desire; printf "%s\\n" "$DESIRED" "$NUMBERS"'
    variables = {"DEVICES": devices, "RECORDS": f"{known}\nprimary {macs[0]}", "NUMBERS_FILE": numbers, **options}
    lines = call(function, variables)
    return [line.split() for line in lines if line]


def numbers_of(lines: list[list[str]]) -> dict[str, str]:
    return {line[1]: line[5] for line in lines if line[0] == "eni"}


def device(name: str, last: int, index: int) -> str:
    return f"dev {name} 00:16:3e:00:00:{last:02x} {index} up mine"


def test_eth_k_has_number_k_whatever_is_plugged_beside_it() -> None:
    lines = desired("\n".join([device("eth0", 1, 2), device("eth3", 9, 5), device("eth1", 7, 9)]))
    assert numbers_of(lines) == {"eth1": "1", "eth3": "3"}
    assert [line[6:8] for line in lines if line[0] == "eni"] == [["1001", "10001"], ["1003", "10003"]]


def test_other_names_are_numbered_in_their_natural_order_and_keep_their_numbers() -> None:
    first = "\n".join([device("ens5", 1, 2), device("ens10", 9, 3), device("ens6", 7, 4)])
    lines = desired(first)
    assert numbers_of(lines) == {"ens6": "1", "ens10": "2"}
    kept = "\n".join(" ".join(line) for line in lines if line[0] == "num")
    # ens6 is unplugged, another one comes: ens10 keeps 2, and the newcomer does not get 1, which may come back.
    later = "\n".join([device("ens5", 1, 2), device("ens10", 9, 3), device("ens7", 8, 7)])
    assert numbers_of(desired(later, kept)) == {"ens10": "2", "ens7": "3"}
    again = "\n".join([device("ens5", 1, 2), device("ens10", 9, 9), device("ens6", 7, 4)])
    assert numbers_of(desired(again, kept)) == {"ens6": "1", "ens10": "2"}


def test_the_largest_table_number_is_written_out() -> None:
    lines = desired(
        f"{device('eth0', 1, 2)}\n{device('eth1', 2, 3)}", INPUT_CONFIG="cfg 4294967000 32000 eth0 1000 64 100"
    )
    assert lines[1][6:8] == ["4294967000", "32000"]


def compare(kernel: dict[str, str], owned: str = "", wanted: str = "") -> list[str]:
    """Return what `compare` wants done, with `ip` replaced by listings."""
    base = {
        "rule": "0:\tfrom all lookup 255\n32766:\tfrom all lookup 254\n32767:\tfrom all lookup 253",
        "addr": "",
        "route": "",
    }
    ip = """ip() {
        for word in "$@"; do
            case $word in addr|rule|route) eval "printf '%s\\n' \\"\\$K_$word\\"" ;; esac
        done
    }
    """
    listing = {f"K_{key}": value for key, value in {**base, **kernel}.items()}
    lines = call(f"{ip}slurp() {{ TEXT=$OWNED; }}; compare", {"DESIRED": wanted, "OWNED": owned, **listing})
    return [line for line in lines if line.startswith(("do ", "bad "))]


WANTED = f"eni eth1 {SECONDARY} 3 up 1 1001 10001 1000 - 10.0.1.5 24 10.0.1.253 10.0.1.0/24 10.0.1.5,10.0.1.6 - - - u"
IN_PLACE = {
    "addr": "3: eth1    inet 10.0.1.5/24 scope 0 eth1\n3: eth1    inet 10.0.1.6/32 scope 0 eth1",
    "rule": "0:\tfrom all lookup 255\n10001:\tfrom 10.0.1.5 lookup 1001 proto 4\n"
    "10001:\tfrom 10.0.1.6 lookup 1001 proto 4\n32766:\tfrom all lookup 254",
    "route": "default via 10.0.1.253 dev eth1 table 1001 proto 4 metric 1000\n"
    "10.0.1.0/24 dev eth1 table 1001 proto 2 scope 253 src 10.0.1.5 metric 1000",
}


def test_nothing_is_done_when_all_is_in_place() -> None:
    assert compare(IN_PLACE, wanted=WANTED) == []


def test_what_is_missing_is_added_in_an_order_that_the_kernel_accepts() -> None:
    assert compare({}, wanted=WANTED) == [
        "do 4 addr add 10.0.1.5/24 dev eth1 noprefixroute",
        "do 4 addr add 10.0.1.6/32 dev eth1",
        "do 4 route replace 10.0.1.0/24 dev eth1 proto static scope link src 10.0.1.5 table 1001 metric 1000",
        "do 4 route replace default via 10.0.1.253 dev eth1 proto static table 1001 metric 1000",
        "do 4 rule add pref 10001 from 10.0.1.5 lookup 1001 proto static",
        "do 4 rule add pref 10001 from 10.0.1.6 lookup 1001 proto static",
    ]


def test_flushed_rules_of_the_kernel_itself_are_put_back() -> None:
    assert compare({"rule": "0:\tfrom all lookup 255"}) == [
        "do 4 rule add pref 32766 from all lookup 254",
        "do 4 rule add pref 32767 from all lookup 253",
    ]


def test_a_kernel_that_cannot_be_read_is_left_as_it_is() -> None:
    assert compare({"rule": ""}, wanted=WANTED) == ["bad the rules of the kernel cannot be read"]


def test_duplicates_and_leftovers_of_ours_go_and_the_rest_stays() -> None:
    rules = IN_PLACE["rule"] + (
        "\n10001:\tfrom 10.0.1.6 lookup 1001\n10002:\tfrom 10.0.2.5 lookup 1002 proto 4"
        "\n10001:\tfrom 10.0.9.9 lookup 77"
        "\n9000:\tfrom 10.0.9.9 lookup 1001\n10001:\tfrom 10.0.1.8 fwmark 0x1 lookup 1001\n10001:\tfrom all lookup 1001"
    )
    routes = IN_PLACE["route"] + (
        "\ndefault via 10.0.1.1 dev eth1 table 1001\n10.7.0.0/16 dev tun0 table 1001"
        "\ndefault via 10.0.2.253 dev eth2 table 1002"
        "\ndefault dev eth9 table 1003"
    )
    done = compare({**IN_PLACE, "rule": rules, "route": routes}, "own table 4 1002\nown addr eth1 10.0.1.6", WANTED)
    assert sorted(done) == [
        "do 4 route del default via 10.0.1.1 dev eth1 table 1001",
        "do 4 route del default via 10.0.2.253 dev eth2 table 1002",
        "do 4 rule del pref 10001 from 10.0.1.6 lookup 1001",
        "do 4 rule del pref 10002 from 10.0.2.5 lookup 1002",
    ]


def test_an_address_that_was_ours_is_taken_away_and_one_that_was_not_stays() -> None:
    addresses = (
        IN_PLACE["addr"] + "\n3: eth1    inet 10.0.1.9/32 scope 0 eth1\n3: eth1    inet 10.99.0.1/32 scope 0 eth1"
    )
    assert compare({**IN_PLACE, "addr": addresses}, "own addr eth1 10.0.1.9", WANTED) == [
        "do 4 addr del 10.0.1.9/32 dev eth1"
    ]


def test_the_status_is_json_whatever_a_problem_says() -> None:
    function = """
        view() {
            ITEMS="eth1 address 10.0.1.5 ok" DESIRED=$WANTED PROBLEMS='a "quoted" \\\\ problem'$NL VIEW_SOURCE=here
        }
        do_status --json"""
    shown = json.loads("\n".join(call(function, {"WANTED": WANTED})))
    assert shown["enis"][0]["addresses"][0] == {"address": "10.0.1.5", "state": "ok", "rule": "-"}
    assert '"quoted"' in shown["problems"][0]
