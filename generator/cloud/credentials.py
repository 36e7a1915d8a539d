"""Where credentials come from, and where requests go.

The first of these that is there counts, for our calls and for Packer's alike:

1. what Packer's users have: ALICLOUD_ACCESS_KEY and ALICLOUD_SECRET_KEY, with SECURITY_TOKEN for temporary ones;
2. a profile of the aliyun CLI that ALICLOUD_PROFILE names, in ALICLOUD_SHARED_CREDENTIALS_FILE if that is set;
3. the SDK's own chain: ALIBABA_CLOUD_* variables, OIDC, the aliyun CLI's current profile, credentials.ini, the
   RAM role of the ECS instance, a credentials URI.

MULTIEIP_ENDPOINT (or MULTIEIP_ECS_ENDPOINT, its name of old) sends the calls to ECS and VPC elsewhere. An endpoint on
this machine gets keys of no account, so that real credentials cannot end up in an emulator.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from generator.errors import PrerequisiteError, UsageError

ENDPOINT = "MULTIEIP_ENDPOINT"
ENDPOINT_OF_OLD = "MULTIEIP_ECS_ENDPOINT"

_NO_ACCOUNT = "multieip-no-account"
_HINT = "set ALICLOUD_ACCESS_KEY and ALICLOUD_SECRET_KEY, or run `aliyun configure`"


@dataclass(frozen=True)
class Endpoint:
    """Where requests go instead of the region's own endpoint; `address` is HOST or HOST:PORT."""

    scheme: str
    address: str
    loopback: bool


def endpoint() -> Endpoint | None:
    """Return the endpoint that the environment names, or None; `UsageError` for one that cannot be."""
    name = ENDPOINT if os.environ.get(ENDPOINT) else ENDPOINT_OF_OLD
    value = os.environ.get(name, "")
    if not value:
        return None
    try:
        url = urlsplit(value)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise UsageError(f"{name} is not a URL", hint="for example http://127.0.0.1:8080") from None
    local = _is_loopback(host)
    if not host or url.path not in ("", "/") or url.scheme not in (("http", "https") if local else ("https",)):
        raise UsageError(
            f"{name} must be https://HOST, or http:// on this machine", hint="for example http://127.0.0.1:8080"
        )
    return Endpoint(url.scheme, url.netloc, local)


def source() -> Any:
    """Return the SDK's credential client: it renews temporary credentials, so a long wait outlives them."""
    quiet()
    from alibabacloud_credentials import client, provider  # noqa: PLC0415

    chosen = endpoint()
    if chosen and chosen.loopback:
        static = provider.StaticAKCredentialsProvider(access_key_id=_NO_ACCOUNT, access_key_secret=_NO_ACCOUNT)
        return client.Client(provider=static)
    key, secret = os.environ.get("ALICLOUD_ACCESS_KEY", ""), os.environ.get("ALICLOUD_SECRET_KEY", "")
    if bool(key) != bool(secret):
        raise PrerequisiteError("only one of ALICLOUD_ACCESS_KEY and ALICLOUD_SECRET_KEY is set", hint="set both")
    if key:
        if token := os.environ.get("SECURITY_TOKEN", ""):
            static = provider.StaticSTSCredentialsProvider(
                access_key_id=key, access_key_secret=secret, security_token=token
            )
        else:
            static = provider.StaticAKCredentialsProvider(access_key_id=key, access_key_secret=secret)
        return client.Client(provider=static)
    if profile := os.environ.get("ALICLOUD_PROFILE", ""):
        file = os.environ.get("ALICLOUD_SHARED_CREDENTIALS_FILE") or None
        return client.Client(provider=provider.CLIProfileCredentialsProvider(profile_name=profile, profile_file=file))
    return client.Client()


def packer_environment() -> dict[str, str]:
    """Return the variables in which Packer's alicloud-ecs takes the credentials that `source` finds.

    Temporary ones are as they are now: Packer does not renew them, so they must last for the build.
    `PrerequisiteError` when there are none.
    """
    try:
        found = source().get_credential()
    except PrerequisiteError:
        raise
    except Exception as error:  # providers raise what their files and services make them raise
        raise missing(error) from None
    if not found.access_key_id or not found.access_key_secret:
        raise PrerequisiteError("Packer needs an access key, and these credentials have none", hint=_HINT)
    environment = {"ALICLOUD_ACCESS_KEY": found.access_key_id, "ALICLOUD_SECRET_KEY": found.access_key_secret}
    if found.security_token:
        environment["SECURITY_TOKEN"] = found.security_token
    return environment


def likely() -> bool:
    """Say whether there seem to be credentials, from variables and files alone: no SDK, no network, no value read."""
    named = (
        "ALICLOUD_ACCESS_KEY",
        "ALICLOUD_PROFILE",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_CREDENTIALS_FILE",
        "ALIBABA_CLOUD_CREDENTIALS_URI",
        "ALIBABA_CLOUD_ECS_METADATA",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    )
    files = (".aliyun/config.json", ".alibabacloud/credentials.ini")
    home = Path(os.environ.get("HOME", "/"))
    return any(os.environ.get(name) for name in named) or any((home / file).is_file() for file in files)


def missing(error: Exception) -> PrerequisiteError:
    """Return the error for credentials that cannot be had.

    What a provider says is left out, for it can quote the answer of a service that hands out secrets; its type
    is enough to see that something is there and broken.
    """
    return PrerequisiteError(f"no credentials of Alibaba Cloud ({type(error).__name__})", hint=_HINT)


def quiet() -> None:
    """Take away the SDK's own loggers: they write to stderr, and with DEBUG=sdk they write signed headers."""
    import alibabacloud_credentials.client  # noqa: F401, PLC0415 - importing is what sets the loggers up
    import darabonba.core  # noqa: F401, PLC0415

    for name in ("alibabacloud-tea", "credentials", "darabonba-core"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.CRITICAL)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
