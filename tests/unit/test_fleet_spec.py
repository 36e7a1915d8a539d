"""What is wrong with a fleet spec is found at its place; what is right says how many of what there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from generator.render import launch
from generator.render.provenance import digest
from generator.render.userdata import golden
from generator.spec import source
from generator.spec.alg import needing_alg
from generator.spec.fields import share_of
from generator.spec.findings import FindingsError
from generator.spec.fleet import FleetSpec, Rule, examine, load, size_findings
from generator.spec.image import load as load_image
from generator.spec.kinds import Kind, kind_of
from generator.spec.limits import ECS_LIMIT
from generator.spec.schema import json_schema
from generator.spec.strategy import Strategy

ROOT = Path(__file__).parents[2]
GOOD = {
    "version": "1",
    "name": "web",
    "region": "cn-hangzhou",
    "image": "{name: debian-12}",
    "instance_types": "[ecs.g7.large]",
    "vswitches": "[vsw-12345678]",
    "security_group": "{id: sg-12345678}",
    "enis": "[{private_ips: 5}]",
}
Found = Callable[..., list[str]]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Check a spec whose last lines are given; return `line:col rule` of each finding, with a `?` after warnings.

    What is given replaces the good value of its key; the first line that is given is line 10.
    """

    def check(text: str) -> list[str]:
        given = {line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()}
        lines = [f"{key}: {value}" for key, value in GOOD.items() if key not in given]
        lines = [f"# {number}" for number in range(9 - len(lines))] + lines
        path = tmp_path / "fleet.yaml"
        path.write_text("\n".join([*lines, text, ""]))
        spec, findings = examine(path)
        assert (spec is None) == any(finding.severity == "error" for finding in findings)
        assert all(len(str(finding).splitlines()) == 1 and finding.remedy for finding in findings)
        assert "pydantic" not in "".join(map(str, findings))
        return [f"{f.line}:{f.column} {f.rule}{'?' * (f.severity == 'warning')}" for f in findings]

    return check


RULES = "security_group: {rules: ["
GATE = "strategy: {gates: [{name: web, "
BAD = [
    # the top
    ("version: 2", "10:10 choice"),
    ("name: Web", "10:7 format"),
    ("name: a.b", "10:7 format"),
    (f"name: {'w' * 49}", "10:7 length"),
    ("nmae: web", "10:1 unknown-key"),
    ("region: hangzhou", "10:9 format"),
    ("instance_types: []", "10:1 length"),
    ("instance_types: [ecs.g7.large, ecs.g7.large]", "10:32 duplicate"),
    ("vswitches: [vsw-12345678, vsw-12345678]", "10:27 duplicate"),
    ("vswitches: vsw-12345678", "10:12 type"),
    ("count: 0", "10:8 range"),
    ("count: 10001", "10:8 range"),
    ("count: '2'", "10:8 type"),
    ("enis: []", "10:1 length"),
    ("enis: {private_ips: 1}", "10:7 type"),
    ("metadata: {tokens: none}", "10:20 choice"),
    ("key_pair: https://x", "10:11 format"),
    ("ram_role: a b", "10:11 format"),
    ("tags: {'multieip:fleet': x}", "10:8 ecs-tag"),
    ("tags: {'aliyun-x': x}", "10:8 ecs-tag"),
    (f"tags: {{{', '.join(f't{n}: x' for n in range(13))}}}", "10:1 length"),
    # the image and user-data
    ("image: {}", "10:1 one-of"),
    ("image: {name: debian-12, id: m-12345678}", "10:1 one-of"),
    ("image: {name: debian-13}", "10:15 image-spec"),
    ("image: {id: m-12345678}", "10:1 user-data"),
    ("user_data: {image_spec: no/such.yaml}", "10:25 image-spec"),
    (f"user_data: {{image_spec: {'x/' * 90}{'y' * 20}}}", "10:25 image-spec"),
    ("user_data: {form: standalone}", "10:19 user-data"),
    ("user_data: {form: none, image_spec: debian-12}", "10:25 together"),
    ("user_data: {form: none, cloud_config: {runcmd: [x]}}", "10:25 together"),
    ("user_data: {cloud_config: {rncmd: [x]}}", "10:28 unknown-key"),
    ("user_data: {cloud_config: {network: {}}}", "10:28 collision"),
    ("image: {id: m-12345678}\nuser_data: {form: golden}", "11:1 user-data"),
    ("user_data: {cloud_config: {rpi: {}}}", "10:28 cloud-init-version?"),
    ("user_data: {cloud_config: {write_files: [{path: /x, content: 'password=abc123'}]}}", "10:62 secret?"),
    # disks and spot
    ("system_disk: {size_gib: 19}", "10:25 range"),
    ("system_disk: {category: cloud_auto, performance_level: PL1}", "10:37 together"),
    ("data_disks: [{size_gib: 460, performance_level: PL2}]", "10:25 range"),
    ("data_disks: [{size_gib: 1260, performance_level: PL3}]", "10:25 range"),
    ("data_disks: [{}]", "10:14 required"),
    ("spot: {price_limit: 0}", "10:21 range"),
    ("spot: {price_limit: 0.0001}", "10:21 range"),
    ("spot: {price_limit: 0.1234}", "10:21 range"),
    ("spot: {price_limit: '0.1'}", "10:21 type"),
    ("spot: {protected_hours: 2}", "10:25 range"),
    ("spot: {}\ndeletion_protection: true", "11:1 together"),
    ("deletion_protection: true\nspot: {interruption: Stop}", "10:1 together"),
    # the security group
    ("security_group: {}", "10:1 one-of"),
    ("security_group: {id: sg-12345678, rules: [{protocol: icmp, cidr: 0.0.0.0/0}]}", "10:1 one-of 10:35 probe?"),
    (RULES + "{protocol: tcp, cidr: 0.0.0.0/0}]}", "10:18 probe? 10:26 together"),
    (RULES + "{protocol: all, ports: 22, cidr: 0.0.0.0/0}]}", "10:18 probe? 10:37 choice"),
    (RULES + "{protocol: tcp, ports: 22}]}", "10:26 required"),
    (RULES + "{protocol: tcp, ports: 22, cidr: 10.0.0.1/8}]}", "10:59 cidr"),
    (RULES + "{protocol: tcp, ports: 22, cidr: 10.0.0.0/33}]}", "10:59 format"),
    (RULES + "{protocol: tcp, ports: 22, cidr: 10.0.0.256}]}", "10:59 format"),
    (RULES + "{protocol: tcp, ports: 22, cidr: '::/0'}]}", "10:59 format"),
    (RULES + "{protocol: tcp, ports: 443, cidr: 0.0.0.0/0}]}", "10:18 probe?"),
    (RULES + "{protocol: tcp, ports: 1-65536, cidr: 0.0.0.0/0}]}", "10:49 range"),
    (RULES + "{protocol: tcp, ports: 30-20, cidr: 0.0.0.0/0}]}", "10:18 probe? 10:49 range"),
    (RULES + "{protocol: tcp, ports: 0, cidr: 0.0.0.0/0}]}", "10:18 probe? 10:49 range"),
    (RULES + "{protocol: tcp, ports: 22/22, cidr: 0.0.0.0/0}]}", "10:18 probe? 10:49 format"),
    (RULES + "{protocol: tcp, ports: true, cidr: 0.0.0.0/0}]}", "10:18 probe? 10:49 format"),
    (RULES + "{protocol: tcp, ports: [22], cidr: 0.0.0.0/0}]}", "10:18 probe? 10:49 format"),
    (RULES + "{protocol: tcp, ports: 21-22, cidr: 0.0.0.0/0}]}", "10:49 alg?"),
    # ENIs
    ("enis: [{private_ips: 0}]", "10:22 range"),
    ("enis: [{private_ips: 51}]", "10:22 range"),
    ("enis: [{private_ips: 5, eips: 6}]", "10:31 eips"),
    ("enis: [{eips: 2}]", "10:15 eips"),
    ("enis: [{addresses: [10.0.0.1], eips: 2}]", "10:38 eips"),
    ("enis: [{addresses: [10.0.0.1], private_ips: 2}]", "10:45 together"),
    ("enis: [{addresses: [10.0.0.1, 10.0.0.1]}]", "10:31 duplicate"),
    ("enis: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.1]}]", "10:46 duplicate"),
    ("enis: [{addresses: [10.0.0.01]}]", "10:21 format"),
    (f"enis: [{{addresses: [{', '.join(f'10.0.0.{n}' for n in range(1, 13))}]}}]", "10:9 length"),
    ("enis: [{id: eni-12345678}]", "10:9 primary"),
    ("enis: [{vswitch: vsw-12345678}]", "10:9 primary"),
    ("enis: [{}, {id: eni-12345678}, {id: eni-12345678}]", "10:37 duplicate"),
    ("count: 2\nenis: [{}, {id: eni-12345678}]", "11:13 single"),
    ("count: 2\nenis: [{addresses: [10.0.0.1]}]", "11:9 single"),
    ("vswitches: [vsw-12345678, vsw-12345679]\nenis: [{}, {vswitch: vsw-12345678}]", "11:22 zone?"),
    ("enis: [{}, {id: eni-12345678, queues: 2}]", "10:31 together"),
    ("enis: [{queues: 2049}]", "10:17 range"),
    ("enis: [{name: 'a b'}]", "10:15 format"),
    # EIPs
    ("eips: {bandwidth_mbps: 201}", "10:24 range"),
    ("eips: {internet_charge_type: PayByBandwidth, bandwidth_mbps: 501}", "10:62 range"),
    ("eips: {isp: BGP_MULTI_ISP}", "10:13 choice"),
    ("eips: {segment: 29}", "10:17 range"),
    ("count: 4\neips: {segment: 28}", "11:17 segment"),
    ("count: 3\neips: {segment: 28}", "11:17 segment?"),
    ("count: 2\neips: {segment: 27}", "11:17 segment?"),
    ("count: 2\neips: {segment: 28, pool: pippool-12345678}", "11:21 together"),
    ("count: 2\neips: {ids: [eip-12345678]}", "11:8 eips"),
    ("enis: [{}]\neips: {ids: [eip-12345678], segment: 28, pool: pippool-12345678}", "11:29 together 11:42 together"),
    ("enis: [{}, {}]\neips: {ids: [eip-12345678, eip-12345678]}", "11:28 duplicate"),
    # the probe
    ("probe: {protocol: icmp, port: 22}", "10:25 together"),
    ("probe: {timeout: 8d}", "10:18 range"),
    ("probe: {timeout: 0s}", "10:18 range"),
    ("probe: {timeout: 5 s}", "10:18 format"),
    ("probe: {timeout: -1}", "10:18 format"),
    ("probe: {timeout: 1.5}", "10:18 format"),
    # the strategy
    ("strategy: {waves: [0]}", "10:20 range"),
    ("strategy: {waves: [1, 0%]}", "10:23 range"),
    ("strategy: {waves: [101%]}", "10:20 range"),
    ("strategy: {waves: [half]}", "10:20 format"),
    ("strategy: {waves: []}", "10:12 length"),
    ("strategy: {waves: 25%}", "10:19 type"),
    ("strategy: {max_surge: 0}", "10:11 no-room"),
    ("strategy: {max_surge: 0%, max_unavailable: 0}", "10:44 no-room"),
    ("strategy: {approval: always}", "10:22 choice"),
    ("count: 2\nstrategy: {protected: [1, 3]}", "11:27 protected"),
    ("strategy: {protected: [1, 1]}", "10:27 duplicate"),
    (GATE + "}]}", "10:20 one-of"),
    (GATE + "url: 'https://x', command: [x]}]}", "10:20 one-of"),
    (GATE + "url: 'https://me:pw@x'}]}", "10:37 format 10:37 secret?"),
    (GATE + "url: 'https://x', above: 1, below: 1}]}", "10:57 bounds"),
    (GATE + "url: 'https://x', pointer: /a}]}", "10:50 together"),
    (GATE + "command: [x], pointer: /a, below: 1}]}", "10:46 together"),
    (GATE + "command: []}]}", "10:20 one-of"),
    (GATE + "command: [x], below: .inf}]}", "10:53 type"),
    (GATE + "command: [x]}, {name: web, command: [x]}]}", "10:54 duplicate"),
    (GATE + f"assistant: {'x' * 12_001}}}]}}", "10:43 length"),
    ("strategy: {hooks: {before_wave: {assistant: x}}}", "10:34 together"),
    ("strategy: {hooks: {drain: {command: [curl, 'token=abcdefgh', '-u=password:abcdef']}}}", "10:62 secret?"),
]


@pytest.mark.parametrize(("text", "wanted"), BAD, ids=[text[:60] for text, _ in BAD])
def test_what_is_wrong_is_found_at_its_place(found: Found, text: str, wanted: str) -> None:
    assert " ".join(found(text)) == wanted


FINE = [
    "image: {id: m-12345678}\nuser_data: {form: none}",
    "image: {family: acs:debian_12_11_x64}\nuser_data: {form: standalone, image_spec: debian-12}",
    "image: {id: m-12345678}\nuser_data: {image_spec: debian-12}",
    RULES + "{protocol: udp, ports: 1-65535, cidr: 0.0.0.0/0}, {protocol: tcp, ports: '22', cidr: 10.0.0.1}]}",
    RULES + "{protocol: icmp, cidr: 10.0.0.1/32}]}\nprobe: {protocol: icmp}",
    "enis: [{addresses: [10.0.0.1, 10.0.0.2], private_ips: 2, eips: 2}, {id: eni-12345678, private_ips: 3}]",
    "enis: [{eips: 0}, {vswitch: vsw-12345678}]",
    "count: 2\neips: {segment: 28}",
    "enis: [{}, {}]\neips: {ids: [eip-12345678, eip-12345679]}",
    "eips: {internet_charge_type: PayByBandwidth, bandwidth_mbps: 500}",
    "spot: {price_limit: 1}",
    "spot: {price_limit: 1}\ndeletion_protection: false",
    "deletion_protection: true",
    "strategy: {max_surge: 0, max_unavailable: 1, waves: ['1', 1, 100%], bake: 0}",
    GATE + "url: 'http://[::1]:9090/x?q=up{job=\"a\"}', pointer: /a/0, above: -1, below: 1}]}",
]


@pytest.mark.parametrize("text", FINE)
def test_what_is_right_has_no_finding(found: Found, text: str) -> None:
    assert found(text) == []


def test_errors_of_an_image_spec_are_counted_and_left_to_its_own_check(found: Found, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\nname: bad\n")
    assert found(f"user_data: {{image_spec: {tmp_path}/bad.yaml}}") == ["10:25 image-spec"]


def test_a_fleet_that_is_not_there_names_the_examples(tmp_path: Path) -> None:
    with pytest.raises(FindingsError, match=r"there is no such file; give a path, or one of .*demo.*stock-image"):
        load(tmp_path / "none.yaml")


def test_a_spec_made_in_code_is_held_to_the_same_rules() -> None:
    data = load("demo").model_dump()
    data["enis"][1]["eips"] = 6
    with pytest.raises(ValidationError, match="6 EIPs for 5 private IPs"):
        FleetSpec.model_validate(data)


def test_the_demo_fits_the_quota_of_a_new_account() -> None:
    demo = load(ROOT / "fleets/demo.yaml")
    assert (demo.count, demo.enis_per_instance, demo.eips_per_instance, demo.total_eips) == (2, 2, 10, 20)


def test_counts_and_names_follow_from_the_enis() -> None:
    fleet = load(ROOT / "fleets/production.yaml")
    assert fleet.private_ips_per_instance == 11
    assert fleet.total_eips == 200
    assert fleet.name_of(7) == "egress-007"
    assert [fleet.eni_name_of(index) for index in range(1, 3)] == ["egress-out-a", "egress-out-b"]
    assert load("stock-image").eips_per_instance == 3


def test_times_ports_and_shares_are_one_type_to_code() -> None:
    fleet = load(ROOT / "fleets/production.yaml")
    assert [rule.port_range for rule in fleet.security_group.rules] == ["22/22", "8080/8081"]
    assert Rule.model_validate({"protocol": "icmp", "cidr": "0.0.0.0/0"}).port_range == "-1/-1"
    assert (fleet.probe.timeout, fleet.strategy.bake, fleet.strategy.waves) == (5, 300, ("2", "25%"))
    again = FleetSpec.model_validate(fleet.model_dump(mode="json"))
    assert again == fleet
    bakes = [Strategy.model_validate({"bake": bake}).bake for bake in (90, "90", "90s", "2m", "2h", "7d")]
    assert bakes == [90, 90, 90, 120, 7200, 604_800]


@pytest.mark.parametrize(
    ("share", "total", "up", "down"),
    [("3", 10, 3, 3), ("30", 10, 10, 10), ("25%", 10, 3, 2), ("100%", 7, 7, 7), ("0%", 7, 0, 0), ("1%", 1, 1, 0)],
)
def test_a_share_of_a_fleet_is_whole_instances(share: str, total: int, up: int, down: int) -> None:
    assert (share_of(share, total), share_of(share, total, up=False)) == (up, down)


@pytest.mark.parametrize(
    ("strategy", "changing", "wanted"),
    [
        ({}, 10, (1, 3, 3, 3)),
        ({}, 1, (1,)),
        ({}, 0, ()),
        ({"canary": 0, "waves": [2, "50%"]}, 10, (2, 5, 3)),
        ({"canary": 1, "waves": [2, 3]}, 6, (1, 2, 3)),
        ({"canary": 4, "waves": ["1%"]}, 6, (4, 1, 1)),
        ({"canary": 20}, 6, (6,)),
    ],
)
def test_waves_are_planned_from_the_canary_to_the_last(
    strategy: dict[str, object], changing: int, wanted: tuple[int, ...]
) -> None:
    assert Strategy.model_validate(strategy).wave_sizes(10, changing) == wanted


def test_parts_of_a_fleet_never_let_more_fail_than_was_said() -> None:
    strategy = Strategy.model_validate({"max_surge": "25%", "max_unavailable": "25%", "failure_threshold": "25%"})
    assert (strategy.surge(6), strategy.unavailable(6), strategy.tolerated(6)) == (2, 1, 1)


@pytest.mark.parametrize("path", sorted((ROOT / "fleets").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_model_dumps_fits_the_schema_of_files(path: Path) -> None:
    jsonschema.validate(load(path).model_dump(mode="json"), json_schema(FleetSpec))


@pytest.mark.parametrize(
    ("protocol", "ports", "wanted"),
    [
        ("tcp", "21", ("FTP",)),
        ("udp", "21", ()),
        ("udp", "53-69", ("DNS", "TFTP")),
        ("tcp", "5060-5061", ("SIP",)),
        ("tcp", "554", ("RTSP",)),
        ("tcp", "1700-1720", ("H.323",)),
        ("tcp", "443", ()),
        ("tcp", "1-65535", ()),
    ],
)
def test_protocols_that_nat_mode_breaks_are_known_by_their_ports(
    protocol: str, ports: str, wanted: tuple[str, ...]
) -> None:
    assert needing_alg(protocol, ports) == wanted


def test_the_digest_is_of_the_meaning() -> None:
    one = load("demo")
    same = FleetSpec.model_validate({**one.model_dump(), "probe": {"timeout": "5s"}})
    other = FleetSpec.model_validate({**one.model_dump(), "count": 3})
    assert digest(one) == digest(same) != digest(other)


def test_user_data_is_that_of_the_image_with_the_fleets_own_behind(tmp_path: Path) -> None:
    demo, image = load("demo"), load_image("ubuntu-24.04")
    assert launch.user_data(demo, image) == golden(image)
    own = {"write_files": [{"path": "/x", "content": "fleet"}], "hostname": "x"}
    changed = FleetSpec.model_validate({**demo.model_dump(), "user_data": {"cloud_config": own}})
    rendered = launch.user_data(changed, image.model_copy(update={"cloud_config": {"write_files": [{"path": "/y"}]}}))
    text = rendered.decode()
    assert text.index("path: /y") < text.index("path: /x")
    assert "hostname: x" in text
    none = FleetSpec.model_validate({**demo.model_dump(), "user_data": {"form": "none"}})
    assert (launch.user_data(none, image), none.image_spec) == (b"", "")


def test_user_data_above_the_limit_is_a_finding_at_its_key() -> None:
    path = str(ROOT / "fleets/production.yaml")
    line = next(n for n, text in enumerate(Path(path).read_text().splitlines(), 1) if text == "user_data:")
    assert size_findings(path, ECS_LIMIT) == ()
    assert [(f.line, f.rule, f.severity) for f in size_findings(path, ECS_LIMIT + 1)] == [
        (line, "user-data-size", "error")
    ]


@pytest.mark.parametrize(
    ("folder", "text", "wanted"),
    [
        ("images", "version: 1\nname: x\nenis: []\n", Kind.FLEET),
        ("fleets", "version: 1\nname: x\ndistro: debian-12\n", Kind.IMAGE),
        ("fleets", "name: x\n", Kind.FLEET),
        ("images", "name: x\n", Kind.IMAGE),
        ("fleets", "- x\n", Kind.FLEET),
        ("elsewhere", "\0", Kind.IMAGE),
        ("elsewhere", "distro: x\nregion: x\ncount: 1\n", Kind.FLEET),
    ],
)
def test_a_files_kind_is_told_by_its_keys_and_then_by_its_folder(
    tmp_path: Path, folder: str, text: str, wanted: Kind
) -> None:
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "x.yaml"
    path.write_text(text)
    assert kind_of(path, source.read(path)[0]) is wanted
