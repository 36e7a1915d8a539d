"""Key pairs. The cloud makes RSA ones of 2048 bits; who asked gets the private half, and nobody else ever."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from generator.sandbox.api import lookup, paging
from generator.sandbox.api.call import TAGS, Body, Call, action, between, has_tags, json_list, matching
from generator.sandbox.api.ecs.instances import shown_tags
from generator.sandbox.api.errors import ApiError
from generator.sandbox.region.clock import minutes
from generator.sandbox.region.model import Instance, KeyPair

_NAMED = {
    "KeyPairName": matching(r"(?!https?://)[^\W\d_][\w.:-]{1,127}", "InvalidKeyPairName.Malformed"),
    "Tag": TAGS,
}
_KINDS = (b"ssh-rsa", b"ssh-ed25519", b"ecdsa-sha2-nistp256")


@action("ecs", "CreateKeyPair", required="RegionId KeyPairName", takes="Tag", ignores="ResourceGroupId", limits=_NAMED)
def create_key_pair(call: Call) -> Body:
    """Make a key pair, and answer with its private key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    pair = _add(call, public)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    return {
        "KeyPairId": pair.serial,
        "KeyPairName": pair.id,
        "KeyPairFingerPrint": pair.fingerprint,
        "PrivateKeyBody": private,
    }


@action(
    "ecs",
    "ImportKeyPair",
    required="RegionId KeyPairName PublicKeyBody",
    takes="Tag",
    ignores="ResourceGroupId",
    limits=_NAMED,
)
def import_key_pair(call: Call) -> Body:
    """Take over a public key."""
    pair = _add(call, call.text("PublicKeyBody").strip())
    return {"KeyPairName": pair.id, "KeyPairFingerPrint": pair.fingerprint}


def _add(call: Call, public: str) -> KeyPair:
    name = call.text("KeyPairName")
    if call.region.find(KeyPair, name):
        raise ApiError("KeyPair.AlreadyExist", "The key pair already exist.")
    pair = KeyPair(name, call.new("ssh"), _fingerprint(public), public, call.now, call.tags())
    return call.region.put(pair)


def _fingerprint(public: str) -> str:
    kind, _, rest = public.partition(" ")
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except binascii.Error:
        blob = b""
    # The key says its own kind once more inside: four bytes of length, then the name.
    if kind.encode() not in _KINDS or blob[4 : 4 + len(kind)] != kind.encode():
        raise ApiError("InvalidPublicKeyBody.Malformed", "The specified parameter PublicKeyBody is not valid.")
    return hashlib.md5(blob, usedforsecurity=False).hexdigest()


@action(
    "ecs",
    "DescribeKeyPairs",
    required="RegionId",
    takes="KeyPairName KeyPairFingerPrint IncludePublicKey Tag PageNumber PageSize",
    limits={"PageNumber": between(1, 10**6), "PageSize": between(1, 50)},
)
def describe_key_pairs(call: Call) -> Body:
    """Show key pairs; `*` in KeyPairName stands for anything."""
    found = [
        one
        for one in call.region.all(KeyPair)
        if fnmatch.fnmatchcase(one.id, call.text("KeyPairName") or "*")
        and (call.text("KeyPairFingerPrint") or one.fingerprint) == one.fingerprint
        and has_tags(one.tags, call.items("Tag"))
    ]
    page, fields = paging.by_number(call, found)
    return {
        "KeyPairs": [
            {
                "KeyPairName": one.id,
                "KeyPairFingerPrint": one.fingerprint,
                "CreationTime": minutes(one.created),
                "PublicKey": one.public_key if call.flag("IncludePublicKey") else None,
                "Tags": shown_tags(one.tags),
            }
            for one in page
        ],
        **fields,
    }


_PAIRED = {"InstanceIds": json_list(50)}


@action("ecs", "AttachKeyPair", required="RegionId KeyPairName InstanceIds", limits=_PAIRED)
def attach_key_pair(call: Call) -> Body:
    """Give instances a key pair; a running one knows it after its next start."""
    pair = lookup.key_pair(call, call.text("KeyPairName"))
    return _set(call, pair.id)


@action("ecs", "DetachKeyPair", required="RegionId KeyPairName InstanceIds", limits=_PAIRED)
def detach_key_pair(call: Call) -> Body:
    """Take a key pair from instances that have it."""
    lookup.key_pair(call, call.text("KeyPairName"))
    return _set(call, "")


def _set(call: Call, name: str) -> Body:
    results = []
    for key in call.items("InstanceIds"):
        instance = call.region.find(Instance, key)
        if instance and (name or instance.key_pair == call.text("KeyPairName")):
            call.region.put(replace(instance, key_pair=name))
            results.append({"InstanceId": key, "Success": "true", "Code": "200", "Message": "successful"})
        else:
            code = "InvalidInstanceId.NotFound" if instance is None else "InvalidKeyPair.NotAttached"
            results.append({"InstanceId": key, "Success": "false", "Code": code, "Message": "failed"})
    failed = sum(result["Success"] == "false" for result in results)
    return {
        "KeyPairName": call.text("KeyPairName"),
        "Results": results,
        "TotalCount": str(len(results)),
        "FailCount": str(failed),
    }


@action("ecs", "DeleteKeyPairs", required="RegionId KeyPairNames", limits={"KeyPairNames": json_list(100)})
def delete_key_pairs(call: Call) -> Body:
    """Delete key pairs that no instance has."""
    for name in call.items("KeyPairNames"):
        pair = lookup.key_pair(call, name)
        if any(instance.key_pair == name for instance in call.region.all(Instance)):
            raise ApiError("InvalidOperation.KeyPairInUse", "The specified key pair is bound to instances.", 403)
        call.region.drop(pair)
    return {}
