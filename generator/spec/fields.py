"""The kinds of text and numbers that specs are made of.

A pattern holds in three engines: pydantic's (Rust), an editor's (JavaScript), and Python's `jsonschema`; in the
first two `$` is the end of the text and never a place before a newline. `WORDS` says each pattern in words,
for messages, for the reference and for editors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

WORDS: dict[str, str] = {}


class RuleError(ValueError):
    """A value breaks a rule that no pattern can say."""

    def __init__(self, rule: str, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.rule = rule
        self.message = message
        self.remedy = remedy


def _text(pattern: str, words: str) -> Any:
    WORDS[pattern] = words
    return Field(pattern=pattern)


Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False)]
PositiveFloat = Annotated[float, Strict(), Field(ge=0.001, le=100_000)]


def _whole(value: Any) -> Any:
    """Refuse `true` and `1.0`, which equal 1 in Python and are other types in YAML."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise RuleError("choice", "it must be the whole number 1", "write version: 1")
    return value


Version = Annotated[Literal[1], BeforeValidator(_whole)]

# A name that is safe as a file name, an ECS image name and a host name at once.
Name = Annotated[
    str,
    _text(
        r"^[a-z][a-z0-9]*([.-][a-z0-9]+)*$",
        "2 to 63 characters: a small letter first, then small letters and digits in parts joined by '-' or '.'",
    ),
    Field(min_length=2, max_length=63),
]
Package = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9][A-Za-z0-9+._:~=@/-]{0,127}$",
        "a package name, as the distribution's package manager takes it",
    ),
]
RegionId = Annotated[
    str, _text(r"^[a-z]{2,3}-[a-z]+(-[a-z]+)?(-[0-9]+)?$", "a region id such as cn-hangzhou or ap-southeast-1")
]
ZoneId = Annotated[
    str,
    _text(r"^[a-z]{2,3}-[a-z]+(-[a-z]+)?(-[0-9]+)?-?[a-z]$", "a zone id such as cn-hangzhou-i or ap-southeast-1a"),
]
AccountId = Annotated[str, _text(r"^[0-9]{16}$", "an Alibaba Cloud account id: 16 digits, in quotes")]
Sha256 = Annotated[str, _text(r"^[0-9a-f]{64}$", "a SHA-256 digest: 64 hex digits in lower case")]
InterfaceName = Annotated[
    str, _text(r"^[A-Za-z][A-Za-z0-9_.-]{0,14}$", "an interface name of at most 15 characters such as eth0")
]
# What names an ENI to leave alone: an ENI id, a MAC address, or an interface name with shell wildcards.
EniSelector = Annotated[
    str,
    _text(
        r"^(eni-[a-z0-9]{8,32}|([0-9a-f]{2}:){5}[0-9a-f]{2}|[A-Za-z][A-Za-z0-9_.*?-]{0,14})$",
        "an ENI id (eni-…), a MAC address in lower case, or an interface name that may hold * and ?",
    ),
]
ImageFamily = Annotated[
    str,
    _text(r"^[A-Za-z][A-Za-z0-9:._-]{1,127}$", "an ECS image family such as acs:ubuntu_24_04_x64"),
]
ImageId = Annotated[
    str, _text(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,127}$", "an ECS image id such as m-bp67acfmxazb4p**** in full")
]
Suite = Annotated[str, _text(r"^[a-z][a-z0-9-]{1,31}$", "a release name that mmdebstrap knows, such as bookworm")]
Mirror = Annotated[str, _text(r"^https?://[A-Za-z0-9.:/_~-]{1,200}$", "an http:// or https:// address")]
Component = Annotated[str, _text(r"^[a-z][a-z-]{0,31}$", "an archive component such as main or non-free-firmware")]
ImageUrl = Annotated[
    str,
    _text(
        r"^(https?|file)://[A-Za-z0-9.:/_~%+?=&-]{1,500}$",
        "an http://, https:// or file:// address without spaces",
    ),
]
InstanceType = Annotated[str, _text(r"^ecs\.[a-z0-9.-]{3,60}$", "an ECS instance type such as ecs.g7.large")]
VpcId = Annotated[str, _text(r"^vpc-[a-z0-9]{8,32}$", "a VPC id (vpc-…)")]
VSwitchId = Annotated[str, _text(r"^vsw-[a-z0-9]{8,32}$", "a vSwitch id (vsw-…)")]
SecurityGroupId = Annotated[str, _text(r"^sg-[a-z0-9]{8,32}$", "a security group id (sg-…)")]
Description = Annotated[
    str,
    _text(r"^([^\x00-\x1f\x7f-\x9f\u2028\u2029]{2,256})?$", "one line of 2 to 256 characters, or nothing at all"),
]

# ECS: request parameters of CreateImage, CopyImage and RunInstances in the official SDK, 7.11.8:
# names 2 to 128 characters, keys 1 to 128, values up to 128; images and their families take no period in
# CreateImage, disks do. The characters are a little narrower than what ECS takes ("letters in Unicode").
_FAMILY = r"^[A-Za-z\u4e00-\u9fff][A-Za-z0-9\u4e00-\u9fff:_-]{1,127}$"
_DISK = r"^[A-Za-z\u4e00-\u9fff][A-Za-z0-9\u4e00-\u9fff:_.-]{1,127}$"
_TAG_KEY = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,128}$"
_TAG_VALUE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,128}$"
OUR_TAGS = "multieip:"


def _no_reserved_start(value: str) -> str:
    if value.lower().startswith(("acs:", "aliyun", "http://", "https://")):
        raise RuleError(
            "ecs-name",
            "ECS refuses names that begin with acs:, aliyun, http:// or https://",
            "choose another beginning",
        )
    return value


def _no_address(value: str) -> str:
    if "http://" in value.lower() or "https://" in value.lower():
        raise RuleError("ecs-name", "ECS refuses http:// and https:// in names and tags", "leave the scheme out")
    return value


def _tag_key(value: str) -> str:
    if value.lower().startswith(("acs:", "aliyun")):
        raise RuleError("ecs-tag", "ECS refuses tag keys that begin with acs: or aliyun", "rename the tag")
    if value.lower().startswith(OUR_TAGS):
        raise RuleError("ecs-tag", f"tags that begin with {OUR_TAGS} are this tool's own", "rename the tag")
    return value


def _tag_value(value: str) -> str:
    if value.lower().startswith("acs:"):
        raise RuleError("ecs-tag", "ECS refuses tag values that begin with acs:", "change the value")
    return value


def _description(value: str) -> str:
    if value.lower().startswith(("http://", "https://")):
        raise RuleError(
            "ecs-name", "ECS refuses descriptions that begin with http:// or https://", "put a word before it"
        )
    return value


EcsFamily = Annotated[
    str,
    _text(_FAMILY, "2 to 128 characters, a letter first, then letters, digits, ':', '_' and '-'"),
    AfterValidator(_no_reserved_start),
    AfterValidator(_no_address),
]
EcsName = Annotated[
    str,
    _text(_DISK, "2 to 128 characters, a letter first, then letters, digits, ':', '_', '.' and '-'"),
    AfterValidator(_no_reserved_start),
    AfterValidator(_no_address),
]
TagKey = Annotated[
    str,
    _text(_TAG_KEY, "a tag key of 1 to 128 characters on one line"),
    AfterValidator(_tag_key),
    AfterValidator(_no_address),
]
TagValue = Annotated[
    str,
    _text(_TAG_VALUE, "a tag value of at most 128 characters on one line"),
    AfterValidator(_tag_value),
    AfterValidator(_no_address),
]
OneLine = Annotated[Description, AfterValidator(_description)]

# Fleets. InstanceName, HostName (2 to 64 characters) and RamRoleName of RunInstances in the SDK, 7.11.8; the name of a
# fleet leaves room for the number of an instance and for the end of an ENI's name.
FleetName = Annotated[
    str,
    _text(
        r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        "2 to 48 characters: a small letter first, then small letters and digits in parts joined by '-'",
    ),
    Field(min_length=2, max_length=48),
]
NamePart = Annotated[
    str, _text(r"^[A-Za-z0-9_-]{1,32}$", "1 to 32 letters, digits, '_' and '-', that end the name of an ENI")
]
ImageSpecName = Annotated[
    str,
    _text(r"^[A-Za-z0-9._/~-]{1,200}$", "the name of an image spec such as debian-12, or the path to its file"),
]
EniId = Annotated[str, _text(r"^eni-[a-z0-9]{8,32}$", "an ENI id (eni-…)")]
EipId = Annotated[str, _text(r"^eip-[a-z0-9]{8,32}$", "an EIP id (eip-…)")]
PoolId = Annotated[str, _text(r"^pippool-[a-z0-9]{8,32}$", "an id of an address pool (pippool-…)")]
BandwidthPackageId = Annotated[str, _text(r"^cbwp-[a-z0-9]{8,32}$", "an id of a bandwidth package (cbwp-…)")]
ResourceGroupId = Annotated[str, _text(r"^rg-[a-z0-9]{8,32}$", "a resource group id (rg-…)")]
RamRole = Annotated[str, _text(r"^[A-Za-z0-9.-]{1,64}$", "the name of a RAM role: letters, digits, '.' and '-'")]
PrivateIp = Annotated[
    str,
    _text(
        r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$",
        "an IPv4 address such as 172.16.0.10",
    ),
]
HttpUrl = Annotated[
    str,
    _text(
        r"^https?://[A-Za-z0-9.:/_~%+?=&{}\[\]()\",;!*'-]{1,1000}$",
        "an http:// or https:// address without spaces, user or password",
    ),
]
Pointer = Annotated[str, _text(r"^(/[A-Za-z0-9_.~ -]{0,64}){1,16}$", "a JSON pointer such as /data/result/0/value/1")]
Argument = Annotated[str, _text(r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,500}$", "one line of 1 to 500 characters")]
Script = Annotated[
    str,
    _text(r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]+$", "a shell script of at most 12000 characters"),
    Field(max_length=12_000),
]


def _cidr(value: str) -> str:
    try:
        network = IPv4Network(value, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise RuleError("format", "it is no IPv4 block", "write one such as 203.0.113.0/24") from None
    if str(network) != value and f"{value}/32" != str(network):
        raise RuleError("cidr", "it has bits set behind its mask", f"write {network}")
    return str(network)


Cidr = Annotated[
    str,
    _text(r"^[0-9.]{7,15}(/[0-9]{1,2})?$", "an IPv4 block such as 203.0.113.0/24, or 0.0.0.0/0 for everyone"),
    AfterValidator(_cidr),
]


def _scalar(pattern: str, words: str, to: Callable[[str], Any], most: int) -> Any:
    """Return what makes a field take text of a pattern, or a whole number of the same form, and keep `to` of it."""
    WORDS[pattern] = words

    def read(value: Any) -> Any:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not re.fullmatch(pattern[1:-1], text):
            raise RuleError("format", "it has another form", f"give {words}")
        return to(text)

    schema = {"type": ["integer", "string"], "minimum": 0, "maximum": most, "pattern": pattern}
    return BeforeValidator(read), WithJsonSchema(schema)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MOST_SECONDS = 7 * 86_400


def _seconds(text: str) -> int:
    number, unit = (text, "s") if text.isdecimal() else (text[:-1], text[-1])
    seconds = int(number) * _UNITS[unit]
    if seconds > MOST_SECONDS:
        raise RuleError("range", "it is longer than 7 days", "give a shorter time")
    return seconds


def _some_time(seconds: int) -> int:
    if seconds == 0:
        raise RuleError("range", "it leaves no time", "give 1s or more")
    return seconds


def _share(text: str) -> str:
    number = text.removesuffix("%")
    if int(number) > (100 if text.endswith("%") else 10_000):
        raise RuleError("range", "it is above 100% or 10000 instances", "give less")
    return f"{int(number)}{'%' if text.endswith('%') else ''}"


def _ports(text: str) -> str:
    first, last = (int(part) for part in (text.split("-") if "-" in text else (text, text)))
    if not 1 <= first <= last <= 65_535:
        raise RuleError("range", "ports go from 1 to 65535, the lower one first", "write 443, or 8000-8080")
    return f"{first}-{last}" if first != last else str(first)


_DURATION = _scalar(
    r"^[0-9]{1,6}[smhd]?$", "seconds, or a time such as 90s, 10m, 2h or 1d, up to 7 days", _seconds, MOST_SECONDS
)
# A time; kept as seconds.
Duration = Annotated[int, *_DURATION]
# A time in which something must be done.
Timeout = Annotated[int, *_DURATION, AfterValidator(_some_time)]
_SHARE = _scalar(r"^[0-9]{1,5}%?$", "a number of instances, or a part of the fleet such as 25%", _share, 10_000)
# A number of instances or a percentage of them; kept as text such as "3" and "25%" (`share_of`).
Share = Annotated[str, *_SHARE]
_PORTS = _scalar(
    r"^[0-9]{1,5}(-[0-9]{1,5})?$", "a port such as 443, or ports from one to another such as 8000-8080", _ports, 65_535
)
# Ports; kept as text such as "443" and "8000-8080".
Ports = Annotated[str, *_PORTS]


def share_of(share: str, total: int, *, up: bool = True) -> int:
    """Return how many of `total` instances a share means; a percentage is rounded up, or down."""
    if not share.endswith("%"):
        return min(int(share), total)
    exact = int(share[:-1]) * total / 100
    return math.ceil(exact) if up else math.floor(exact)
