"""What is wrong with a spec is found at its place, all of it in one run, in plain words."""

from __future__ import annotations

import base64
import gzip
import textwrap
from pathlib import Path

import pytest

from generator.errors import ExitCode
from generator.render.guest import rootfs
from generator.spec.cloud_config import size_findings
from generator.spec.findings import Finding, FindingsError
from generator.spec.image import examine, load

GOOD = """\
version: 1
name: web
distro: ubuntu-24.04
base:
  ecs: {family: "acs:ubuntu_24_04_x64"}
"""


def found(tmp_path: Path, text: str | bytes) -> list[str]:
    """Check a spec; return `line:col rule` of each finding, with a `?` after warnings."""
    path = tmp_path / "spec.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    spec, findings = examine(path)
    assert (spec is None) == any(finding.severity == "error" for finding in findings)
    for finding in findings:
        plain(finding)
    return [f"{f.line}:{f.column} {f.rule}{'?' * (f.severity == 'warning')}" for f in findings]


def plain(finding: Finding) -> None:
    """Hold a finding to the form that every one has: one line, with a remedy, without pydantic's words."""
    line = str(finding)
    assert len(line.splitlines()) == 1
    assert finding.message
    assert finding.remedy
    for jargon in ("pydantic", "Input should", "validation error", "yaml.org", "Traceback", "https://errors"):
        assert jargon not in line


NOT_YAML = [
    ("", "1:1 empty"),
    ("# only a comment\n", "1:1 empty"),
    ("---\n...\n", "2:1 empty"),
    ("~\n", "1:1 empty"),
    ("- a\n- b\n", "1:1 type"),
    ("just text\n", "1:1 type"),
    ("a: [1, 2\n", "1:9 yaml"),
    ("a: 'x\n", "1:6 yaml"),
    ("a: b: c\n", "1:5 yaml"),
    ("a: 1\n b: 2\n", "2:3 yaml"),
    ("a:\n\tb: 1\n", "2:1 tab"),
    ("a: 1\n---\nb: 2\n", "2:1 documents"),
    ("a: %x\n", "1:4 yaml"),
    ("a: *nowhere\n", "1:4 alias"),
    ("a: &a [*a]\n", "1:8 alias"),
    ("\0", "1:1 yaml"),
    ("a: \x07\n", "1:4 yaml"),
    (b"a: \xff\n", "1:4 encoding"),
    ("é: x\na: ".encode() + b"\xe9\n", "2:4 encoding"),
    ("a: " + "[" * 60 + "]" * 60, "1:44 too-deep"),
    ("a: " + "{b: " * 5000, "1:164 too-deep"),
    (b"a: 1\n" * 300_000, "0:0 too-large"),
    ("a: [" + "1," * 60_000 + "]", "1:100001 too-large"),
]


@pytest.mark.parametrize(("text", "wanted"), NOT_YAML, ids=range(len(NOT_YAML)))
def test_a_file_that_is_no_mapping_of_plain_data_is_one_finding(tmp_path: Path, text: str | bytes, wanted: str) -> None:
    assert found(tmp_path, text) == [wanted]


def test_a_bomb_of_aliases_ends_as_a_finding(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert found(tmp_path, "\n".join(["l0: &l0 [x, x]", *levels])) == ["6:10 too-large"]


# What is added to a spec that is right, and what must be found in the whole; GOOD has 5 lines.
ADDED = [
    # keys and types
    ("descripton: x", "6:1 unknown-key"),
    ("name: other", "6:1 duplicate-key"),
    ("1: x", "6:1 key-type"),
    ("on: x", "6:1 key-type"),
    ("[a, b]: x", "6:1 key-type"),
    ("description: 2026-01-01", "6:14 type"),
    ("description: !!binary aGFsbG8=", "6:14 type"),
    ("description: !mine x", "6:14 tag"),
    ("description: 5", "6:14 type"),
    ("description: [a]", "6:14 type"),
    ("packages: tcpdump", "6:11 type"),
    ("packages: {a: b}", "6:11 type"),
    ("packages: [a, 1.5]", "6:15 type"),
    ("network:", "6:1 type"),
    ("network: [x]", "6:10 type"),
    ("cloud_config: [x]", "6:15 type"),
    ("network: {refresh_interval: .nan}", "6:29 type"),
    ("network: {refresh_interval: '60'}", "6:29 type"),
    ("network: {refresh_interval: true}", "6:29 type"),
    ("network: {refresh_interval: 60.5}", "6:29 type"),
    # values
    ("description: x", "6:14 format"),
    ('description: "two\\nlines"', "6:14 format"),
    ('description: "ends with\\n"', "6:14 format"),
    ('description: "a\\u2028b"', "6:14 format"),
    ('description: "a\\x85b"', "6:14 format"),
    ("description: http://example.com", "6:14 ecs-name"),
    ('packages: ["a\\n"]', "6:12 format"),
    ("packages: [-y]", "6:12 format"),
    ("packages: [a, a]", "6:15 duplicate?"),
    ("network: {refresh_interval: 5}", "6:29 range"),
    ("network: {refresh_interval: 99999999999999999999}", "6:29 type"),
    ("network: {table_base: 200}", "6:23 range"),
    ("network: {table_base: 254}", "6:23 range"),
    ("network: {primary_metric: 2000}", "6:10 metrics"),
    ("network: {secondary_metric: 100}", "6:29 metrics"),
    ('network: {primary_interface: "eth0\\n"}', "6:30 format"),
    ("network: {primary_interface: ..}", "6:30 format"),
    ("network: {leave_alone: [eth0]}", "6:25 leave-alone?"),
    ("network: {leave_alone: [eth9, 'a b']}", "6:31 format"),
]
ALICLOUD = [
    ("region: CN", "8:11 format"),
    ("zone: cn-beijing-a", "8:9 zone"),
    ("vswitch_id: vsw-12345678", "8:3 together"),
    ("vpc_id: vpc-12345678", "8:3 together"),
    ("security_group_id: sg-12345678", "8:3 together"),
    ("security_group_id: 'sg-12345678; rm'", "8:3 together 8:22 format"),
    ("copy_regions: [cn-hangzhou]", "8:18 duplicate"),
    ("copy_regions: [cn-beijing, cn-beijing]", "8:30 duplicate"),
    ("share_accounts: [1234567890123456]", "8:20 type"),
    ("share_accounts: ['123']", "8:20 format"),
    ("share_accounts: ['1234567890123456', '1234567890123456']", "8:40 duplicate"),
    ("internet_charge_type: PayByTrafic", "8:25 choice"),
    ("bandwidth_mbps: 0", "8:19 range"),
    ("system_disk: {size_gib: 1}", "8:27 range"),
    ("data_disks: [{name: aliyun-x}]", "8:23 ecs-name"),
    ('data_disks: [{name: "data\\n"}]', "8:23 format"),
    ("data_disks: [{size: 1}]", "8:17 unknown-key"),
    (f"data_disks: [{', '.join(['{}'] * 17)}]", "8:3 length"),
    ("family: acs:mine", "8:11 ecs-name"),
    ("family: web.1", "8:11 format"),
    ("family: x", "8:11 format"),
    ("tags: {'acs:x': y}", "8:10 ecs-tag"),
    ("tags: {AliyunX: y}", "8:10 ecs-tag"),
    ("tags: {'multieip:x': y}", "8:10 ecs-tag"),
    ("tags: {x: 'acs:y'}", "8:13 ecs-tag"),
    ("tags: {x: see https://example.com}", "8:13 ecs-name"),
    ('tags: {"a\\nb": c}', "8:10 format"),
    ('tags: {a: "b\\n"}', "8:13 format"),
    ('tags: {"": c}', "8:10 format"),
    (f"tags: {{{'a' * 129}: c}}", "8:10 format"),
    (f"tags: {{a: {'c' * 129}}}", "8:13 format"),
    ("tags: {a: 5}", "8:13 type"),
    (f"tags: {{{', '.join(f't{n}: x' for n in range(16))}}}", "8:3 length"),
]


@pytest.mark.parametrize(("text", "wanted"), ADDED, ids=[text for text, _ in ADDED])
def test_a_bad_key_or_value_is_found_at_its_place(tmp_path: Path, text: str, wanted: str) -> None:
    assert found(tmp_path, GOOD + text + "\n") == [wanted]


@pytest.mark.parametrize(("text", "wanted"), ALICLOUD, ids=[text[:40] for text, _ in ALICLOUD])
def test_what_ecs_or_packer_would_stumble_over_is_found(tmp_path: Path, text: str, wanted: str) -> None:
    region = "" if text.startswith("region") else "  region: cn-hangzhou\n"
    spec = f"{GOOD}alicloud:\n  instance_type: ecs.g7.large\n  {text}\n{region}"
    assert " ".join(found(tmp_path, spec)) == wanted


BASES = [
    ("{}", "5:3 one-of"),
    ("{family: a1, id: m-1}", "5:3 one-of"),
    ("{id: m-12345678}\n  local: {}", "6:3 one-of"),
    ("{id: m-12345678}\n  local: {suite: noble, url: 'https://x/y'}", "6:3 one-of 6:25 together"),
    ("{id: m-12345678}\n  local: {url: 'https://x/y'}", "6:11 together"),
    ("{id: m-12345678}\n  local: {suite: noble, sha256: abc}", "6:25 together 6:33 format"),
    ("{id: m-12345678}\n  local: {url: ftp://x, sha256: " + "a" * 64 + "}", "6:16 format"),
    ("{id: m-12345678}\n  local: {suite: bookworm}", "6:18 suite"),
    ("{id: m-12345678}\n  local: {suite: noble, disk_gib: 1}", "6:35 range"),
    ("{id: m-12345678}\n  local: {suite: noble, components: []}", "6:25 length"),
]


@pytest.mark.parametrize(("text", "wanted"), BASES)
def test_a_base_is_said_in_one_way_and_whole(tmp_path: Path, text: str, wanted: str) -> None:
    start = "version: 1\nname: web\ndistro: ubuntu-24.04\nbase:\n  ecs: "
    assert " ".join(found(tmp_path, f"{start}{text}\n")) == wanted


TOPS = [
    ("version: 2\nname: web", "1:10 choice"),
    ("version: '1'\nname: web", "1:10 choice"),
    ("version: true\nname: web", "1:10 choice"),
    ("version: 1.0\nname: web", "1:10 choice"),
    ("name: web", "1:1 required"),
    ("version: 1\nname: Web", "2:7 format"),
    ("version: 1\nname: w", "2:7 length"),
    ("version: 1\nname: web-", "2:7 format"),
    ("version: 1\nname: ../web", "2:7 format"),
    ('version: 1\nname: "web\\n"', "2:7 format"),
    (f"version: 1\nname: {'w' * 64}", "2:7 length"),
]


@pytest.mark.parametrize(("text", "wanted"), TOPS)
def test_version_and_name_are_held_to_their_form(tmp_path: Path, text: str, wanted: str) -> None:
    assert found(tmp_path, text + GOOD.partition("web")[2]) == [wanted]


def test_a_suite_is_of_no_use_where_debians_tools_make_no_base(tmp_path: Path) -> None:
    text = "version: 1\nname: web\ndistro: el-9\nbase:\n  ecs: {id: m-12345678}\n  local: {suite: bookworm}\n"
    assert found(tmp_path, text) == ["6:18 suite"]


# Below `cloud_config:` on line 6.
CLOUD_CONFIG = [
    ("wrte_files: []", "7:3 unknown-key"),
    ("network: {config: disabled}", "7:3 collision"),
    ("merge_how: []", "7:3 collision"),
    ("power_state: {mode: reboot}", "7:3 collision?"),
    ("cloud_final_modules: [runcmd]", "7:3 collision"),
    ("write_files: [{path: /etc/multieip/x, content: y}]", "7:24 collision"),
    ("write_files: [{path: /etc//cloud/./cloud.cfg.d/99-disable-network-config.cfg}]", "7:24 collision"),
    ("write_files: [{path: /etc/netplan/x, content: y}]", "7:24 collision?"),
    ("write_files: [{path: /x, permissions: 0600}]", "7:41 cloud-config"),
    ("write_files: [{path: /x, contents: y}]", "7:28 unknown-key"),
    ("write_files: [{content: y}]", "7:17 cloud-config"),
    ("write_files: [{path: /x, encoding: b64, content: '!'}]", "7:52 cloud-config"),
    ("write_files: [{path: /x, encoding: gz+b64, content: aGFsbG8=}]", "7:55 cloud-config"),
    ("runcmd: x", "7:11 cloud-config"),
    ("runcmd: [{a: b}]", "7:12 cloud-config"),
    ("users: [{name: x, lock_passwd: 7}]", "7:34 cloud-config"),
    ("users: [{nam: x}]", "7:11 cloud-config 7:12 unknown-key"),
    ("ntp: {enabled: perhaps}", "7:18 cloud-config"),
    ("password: hunter22", "7:13 secret?"),
    ("chpasswd: {users: [{name: x, type: text, password: hunter22}]}", "7:54 secret?"),
    ("users: [{name: x, passwd: $6$abcdefgh$abcdefghijklmnopqrst}]", "7:29 secret?"),
    ("runcmd: [curl -u a https://me:hunter22@example.com]", "7:12 secret?"),
    ("runcmd: ['export ALICLOUD_ACCESS_KEY=LTAI5tABCDEFGHIJKLMN']", "7:12 secret?"),
    ("ssh_keys: {ed25519_private: '-----BEGIN OPENSSH PRIVATE KEY-----'}", "7:31 secret?"),
    ("ubuntu_pro: {token: C1abcdefghij}", "7:23 secret?"),
    ("write_files:\n    - path: /x\n      content: |\n        first\n        api_key = abcdefgh", "11:1 secret?"),
]


@pytest.mark.parametrize(("text", "wanted"), CLOUD_CONFIG, ids=[text[:50] for text, _ in CLOUD_CONFIG])
def test_cloud_config_is_held_to_the_official_schema_and_to_ours(tmp_path: Path, text: str, wanted: str) -> None:
    assert " ".join(found(tmp_path, f"{GOOD}cloud_config:\n  {text}\n")) == wanted


HARMLESS = [
    "write_files: [{path: /etc/systemd/system/multieip-policy-routing.timer.d/90-mine.conf, content: x}]",
    "chpasswd: {expire: false, users: [{name: x, type: RANDOM}]}",
    "users: [default, {name: x, lock_passwd: true, passwd: '!'}]",
    "ssh_pwauth: false",
    "runcmd: ['passwd --lock root', 'test -n \"$PASSWORD\"', 'DB_PASSWORD=$(fetch-secret db)', ['a', 'b']]",
    "write_files: [{path: /x, content: 'PasswordAuthentication no'}]",
    "write_files: [{path: /x, encoding: b64, content: aGFsbG8=}]",
    "ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIexample me@example.com]",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_right_and_no_secret_is_not_reported(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, f"{GOOD}cloud_config:\n  {text}\n") == []


def test_every_file_of_ours_in_the_image_is_kept_from_write_files(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    ours = [
        path for path in rootfs(load(tmp_path / "good.yaml")) if "multieip" in path and ".d/50-interval" not in path
    ]
    assert len(ours) > 5
    files = "".join(f"    - path: /{path}\n" for path in ours)
    assert found(tmp_path, f"{GOOD}cloud_config:\n  write_files:\n{files}") == [
        f"{line}:13 collision" for line in range(8, 8 + len(ours))
    ]


def test_a_secret_is_found_inside_an_encoded_file_and_never_printed(tmp_path: Path) -> None:
    packed = base64.b64encode(gzip.compress(b"password: hunter2222\n")).decode()
    text = f"  write_files: [{{path: /x, encoding: gz+b64, content: {packed}}}]\n  password: hunter3333\n"
    text = f"{GOOD}cloud_config:\n{text}"
    assert found(tmp_path, text) == ["7:55 secret?", "8:13 secret?"]
    _, findings = examine(tmp_path / "spec.yaml")
    assert "hunter" not in " ".join(map(str, findings))


def test_a_value_of_cloud_config_is_never_in_a_message(tmp_path: Path) -> None:
    text = "  users: [{name: x, passwd: 'hunter22', ssh_keys: hunter22}]\n  chpasswd: hunter22\n  mounts: hunter22\n"
    assert len(found(tmp_path, f"{GOOD}cloud_config:\n{text}")) == 4
    _, findings = examine(tmp_path / "spec.yaml")
    assert "hunter" not in " ".join(map(str, findings))


def test_debians_older_cloud_init_is_warned_about(tmp_path: Path) -> None:
    text = GOOD.replace("ubuntu-24.04", "debian-12") + "cloud_config:\n  ubuntu_pro: {}\n  fan: {config: x}\n"
    assert found(tmp_path, text) == ["7:3 cloud-init-version?"]


def test_everything_is_found_in_one_run_at_every_level(tmp_path: Path) -> None:
    text = """\
        name: Web
        distro: debian
        base:
          ecs: {}
          local: {url: x}
        cloud_config: {network: {}, runcmd: x}
        network: {refresh_interval: 1, table_base: 250}
        alicloud: {region: cn-hangzhou, vpc_id: vpc-12345678}
        """
    assert found(tmp_path, textwrap.dedent(text)) == [
        "1:1 required",
        "1:7 format",
        "2:9 choice",
        "4:3 one-of",
        "5:11 together",
        "5:16 format",
        "6:16 collision",
        "6:37 cloud-config",
        "7:29 range",
        "7:44 range",
        "8:1 required",
        "8:33 together",
    ]


def test_a_value_that_comes_by_alias_or_merge_is_found_where_it_is_written(tmp_path: Path) -> None:
    text = f"""\
{GOOD}alicloud:
  region: cn-hangzhou
  instance_type: ecs.g7.large
  system_disk: &disk
    size_gib: 1
  data_disks:
    - *disk
    - <<: *disk
      name: data
    - <<: [*disk]
      size_gib: 30
"""
    # One for each of the three disks that take the value; the fourth has its own.
    assert found(tmp_path, text) == ["10:15 range"] * 3


def test_merged_keys_and_aliases_give_their_values(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        GOOD
        + "alicloud: {region: cn-hangzhou, instance_type: ecs.g7.large, system_disk: &d {size_gib: 40},"
        + " data_disks: [{<<: *d, name: data}, {<<: [{size_gib: 50}, *d]}, {<<: *d, size_gib: 60}]}\n"
    )
    spec = load(tmp_path / "spec.yaml")
    assert spec.alicloud is not None
    assert [disk.size_gib for disk in spec.alicloud.data_disks] == [40, 50, 60]
    assert spec.alicloud.data_disks[0].name == "data"


def test_the_remedy_names_the_nearest_key_and_the_choices(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(GOOD.replace("ubuntu-24.04", "ubunut-24.04") + "pakages: []\n")
    _, findings = examine(tmp_path / "spec.yaml")
    assert findings[0].remedy == "did you mean ubuntu-24.04? give one of debian-12, ubuntu-24.04, alinux-3, el-9"
    assert findings[1].remedy == "did you mean `packages`?"


def test_load_raises_with_every_finding_and_the_exit_code_of_findings(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD + "x: 1\npackages: [a, a]\ndescription: 5\n")
    with pytest.raises(FindingsError) as raised:
        load(path)
    assert raised.value.exit_code is ExitCode.FINDINGS
    header, *lines = raised.value.message.splitlines()
    assert header == f"2 errors, 1 warning in {path}"
    assert [line.removeprefix(f"{path}:").partition("; ")[0] for line in lines] == [
        "6:1: error[unknown-key]: 'x' is no key of a spec",
        "7:15: warning[duplicate]: 'a' is given twice",
        "8:14: error[type]: description is a number (5)",
    ]


def test_load_takes_a_spec_that_has_warnings_only(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(GOOD + "packages: [a, a]\n")
    assert load(tmp_path / "spec.yaml").packages == ("a", "a")


def test_a_name_is_a_spec_here_or_an_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load("el-9").name == "el-9"
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "el-9.yaml").write_text(GOOD)
    assert load("el-9").name == "web"


def test_a_name_that_is_nothing_is_one_finding_with_the_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, (finding,) = examine("nothing")
    assert str(finding) == (
        "nothing: error[file]: there is no such file; give a path, or one of alinux-3, debian-12, el-9, ubuntu-24.04"
    )


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    _, (finding,) = examine(tmp_path)
    assert (finding.rule, finding.message) == ("file", "cannot be read: Is a directory")


@pytest.mark.parametrize(
    ("golden", "standalone", "severities"),
    [
        (16_384, 32_768, []),
        (16_385, 0, ["warning"]),
        (32_768, 0, ["warning"]),
        (32_769, 0, ["error"]),
        (0, 32_769, ["warning"]),
        (32_769, 32_769, ["error", "warning"]),
    ],
)
def test_user_data_is_held_to_the_limits_of_auto_scaling_and_ecs(
    tmp_path: Path, golden: int, standalone: int, severities: list[str]
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(GOOD + "cloud_config: {ssh_pwauth: false}\n")
    findings = size_findings(str(path), golden, standalone)
    assert [finding.severity for finding in findings] == severities
    assert all((finding.line, finding.column) == (6, 1) for finding in findings)
