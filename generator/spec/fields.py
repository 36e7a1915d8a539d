"""The kinds of text and numbers that specs are made of.

A pattern holds in three engines: pydantic's (Rust), an editor's (JavaScript), and Python's `jsonschema`; in the
first two `$` is the end of the text and never a place before a newline. `WORDS` says each pattern in words,
for messages, for the reference and for editors.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, Strict

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
