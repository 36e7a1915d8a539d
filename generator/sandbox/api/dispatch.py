"""From a signed request's parameters to the body of the answer: windows, checks, tokens, the handler, the shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator.sandbox.api import catalogue
from generator.sandbox.api.call import Action, Body, Call
from generator.sandbox.api.errors import DRY_RUN, ApiError, not_emulated, not_found
from generator.sandbox.api.schema import request_of, response_of
from generator.sandbox.api.wire import shape
from generator.sandbox.region.account import Account
from generator.sandbox.region.model import Token

# How long a client token is remembered. The cloud does not say; this is longer than any client retries.
TOKEN_SECONDS = 24 * 3600
THROTTLED = ApiError("Throttling.User", "Request was denied due to user flow control.")


@dataclass(frozen=True)
class Prepared:
    """A call that is admitted and whose parameters are right: what remains is to carry it out."""

    action: Action
    call: Call
    token: str

    @property
    def in_flight(self) -> tuple[str, str] | None:
        """What marks it while it is carried out, if it has a client token."""
        return (self.call.region.name, self.token) if self.token else None


def find(product: str, name: str) -> Action:
    """Return an action, or raise what the cloud says when there is none."""
    found = catalogue.ACTIONS.get((product, name))
    if found is None:
        if request_of(product, name) is not None:
            raise not_emulated(f"the action {name}")
        raise ApiError("InvalidAction.NotFound", "Specified api is not found, please check your url and method.", 404)
    return found


def prepare(account: Account, action: Action, flat: Mapping[str, str]) -> Prepared:
    """Admit a call by its window, and check its parameters."""
    name = flat.get("RegionId") or account.home
    if name not in account.regions:
        raise not_found("InvalidRegionId", "RegionId")
    if not account.admit(name, action.name):
        raise THROTTLED
    parameters = action.parse(flat)
    token = parameters.pop("ClientToken", "")
    call = Call(account, account.regions[name], parameters)
    return Prepared(action, call, f"{action.product}:{action.name}:{token}" if token else "")


def carry_out(prepared: Prepared) -> Body:
    """Carry a call out, all or nothing, and return its answer without RequestId."""
    action, call = prepared.action, prepared.call
    dry = call.flag("DryRun")
    digest = _digest(call) if prepared.token else ""
    used = call.region.find(Token, prepared.token) if prepared.token else None
    if used and used.created > call.now - TOKEN_SECONDS:
        return _replay(used, digest)
    schema = response_of(action.product, action.name)
    with call.account.transaction():
        body: Body = shape(schema, action.handler(call))
        if dry:
            # Everything was checked by doing it; leaving the transaction by an error undoes it.
            raise DRY_RUN
        if prepared.token:
            _remember(call, Token(prepared.token, digest, json.dumps(body), call.now))
    return body


def _digest(call: Call) -> str:
    return hashlib.sha256(json.dumps(call.parameters, sort_keys=True).encode()).hexdigest()


def _replay(used: Token, digest: str) -> Body:
    if used.digest != digest:
        raise ApiError(
            "IdempotentParameterMismatch",
            "The request uses the same client token as a previous, but non-identical request.",
        )
    body: dict[str, Any] = json.loads(used.answer)
    return body


def _remember(call: Call, token: Token) -> None:
    while (oldest := call.region.oldest(Token)) and oldest.created <= call.now - TOKEN_SECONDS:
        call.region.drop(oldest)
    call.region.put(token)
