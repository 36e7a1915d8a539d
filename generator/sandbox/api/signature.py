"""Who calls: the two ways in which clients sign, both checked as the cloud does.

`ACS3-HMAC-SHA256` is what today's SDKs send (https://www.alibabacloud.com/help/en/sdk/product-overview/
v3-request-structure-and-signature), HMAC-SHA1 what those of old do, Packer's among them
(https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from generator.sandbox.api.errors import ApiError, missing

# A nonce may not come twice, and a time not be off, within this many seconds.
VALIDITY = 15 * 60
_AUTHORIZATION = re.compile(r"ACS3-HMAC-SHA256 +Credential=([^,]+), *SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_NEEDED = {"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}


@dataclass(frozen=True)
class Signed:
    """A request as it came: `parameters` of the query and of a form, decoded, `headers` with names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def parameters(self) -> dict[str, str]:
        """All parameters."""
        return {**self.query, **self.form}


@dataclass
class Gate:
    """Lets in who signs with one of the `keys` (id to secret), and each request once. `now` is real time."""

    keys: Mapping[str, str]
    now: Callable[[], float] = time.time
    _seen: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def check(self, request: Signed) -> None:
        """Raise `ApiError` unless the request is signed well, fresh and new."""
        if "authorization" in request.headers:
            nonce, moment = self._acs3(request)
        else:
            nonce, moment = self._rpc(request)
        self._fresh(moment)
        self._new(nonce)

    def _secret(self, key: str) -> str:
        if key not in self.keys:
            raise ApiError("InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404)
        return self.keys[key]

    def _acs3(self, request: Signed) -> tuple[str, str]:
        match = _AUTHORIZATION.fullmatch(request.headers["authorization"])
        if match is None:
            raise ApiError("InvalidAuthorization", "The Authorization header is not of the form ACS3-HMAC-SHA256.")
        key, names, given = match[1], match[2].split(";"), match[3]
        secret = self._secret(key)
        if absent := sorted(name for name in _NEEDED if name not in names or name not in request.headers):
            raise missing(absent[0])
        digest = request.headers["x-acs-content-sha256"]
        if digest != hashlib.sha256(request.body).hexdigest():
            raise _mismatch("the body has another digest than x-acs-content-sha256")
        head = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in names)
        canonical = "\n".join((request.method, request.path, canonical_query(request.query), head, match[2], digest))
        text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        wanted = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, given):
            raise _mismatch(text)
        return f"{key}:{request.headers['x-acs-signature-nonce']}", request.headers["x-acs-date"]

    def _rpc(self, request: Signed) -> tuple[str, str]:
        parameters = request.parameters
        for name in ("AccessKeyId", "Signature", "SignatureNonce", "Timestamp"):
            if not parameters.get(name):
                raise missing(name)
        secret = self._secret(parameters["AccessKeyId"])
        if parameters.get("SignatureMethod", "HMAC-SHA1") != "HMAC-SHA1":
            raise ApiError("InvalidParameter", 'The specified parameter "SignatureMethod" is not valid.')
        text, wanted = rpc_signature(request.method, parameters, secret)
        if not hmac.compare_digest(wanted, parameters["Signature"]):
            raise _mismatch(text)
        return f"{parameters['AccessKeyId']}:{parameters['SignatureNonce']}", parameters["Timestamp"]

    def _fresh(self, moment: str) -> None:
        try:
            if not _MOMENT.fullmatch(moment):
                raise ValueError(moment)
            # Not strptime, which is half of what checking a request would cost.
            then = datetime.fromisoformat(moment[:-1]).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise ApiError(
                "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."
            ) from None
        if abs(self.now() - then) > VALIDITY:
            raise ApiError("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")

    def _new(self, nonce: str) -> None:
        now = self.now()
        while self._seen and next(iter(self._seen.values())) < now - VALIDITY:
            self._seen.popitem(last=False)
        if nonce in self._seen:
            raise ApiError("SignatureNonceUsed", "Specified signature nonce was used already.")
        self._seen[nonce] = now


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Return parameters sorted and encoded as RFC 3986 has it, which is what is signed."""
    return "&".join(f"{quote(key, safe='~')}={quote(parameters[key], safe='~')}" for key in sorted(parameters))


def rpc_signature(method: str, parameters: Mapping[str, str], secret: str) -> tuple[str, str]:
    """Return what is signed by HMAC-SHA1, and the signature."""
    query = canonical_query({key: value for key, value in parameters.items() if key != "Signature"})
    text = f"{method}&%2F&{quote(query, safe='~')}"
    digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return text, base64.b64encode(digest).decode()


def _mismatch(signed: str) -> ApiError:
    return ApiError(
        "SignatureDoesNotMatch",
        f"Specified signature does not match our calculation. server string to sign is:{signed}",
    )
