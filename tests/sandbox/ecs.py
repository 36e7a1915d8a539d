"""As much of the ECS API as images need, on loopback: state, delays, and faults on demand.

It speaks to the SDK (action in a header, parameters in the query) and to Packer's older one (all in the form, by way
of HTTP_PROXY). Every request is recorded.
"""

# Operations are methods of the API's own names.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class FakeImage:
    """An image; it is Available after `polls` looks at it, or ends as `ends`."""

    polls: int = 0
    ends: str = "Available"
    family: str = ""
    owner: str = "self"
    snapshots: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    imds: str = "v1"
    shared: list[str] = field(default_factory=list)
    in_use: bool = False

    @property
    def status(self) -> str:
        return "Creating" if self.polls else self.ends


@dataclass(frozen=True)
class Call:
    """One request as it came over the wire."""

    action: str
    region: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """What happens instead of an answer; `after` carries the call out first, so that only its answer is lost."""

    code: str = ""
    message: str = "no"
    status: int = 400
    html: bool = False
    reset: bool = False
    after: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


THROTTLED = Fault(code="Throttling.User", message="Request was denied due to user flow control.")
BUSY_PAGE = Fault(status=503, html=True)
RESET = Fault(reset=True)
LOST = Fault(reset=True, after=True)
FORBIDDEN = Fault(
    code="Forbidden.RAM", message="User not authorized to operate\non the specified resource.", status=403
)


class ApiError(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


class FakeEcs:
    """The API's state, and what came over the wire."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, FakeImage]] = defaultdict(dict)
        self.snapshots: dict[str, dict[str, str]] = {}
        self.key_pairs: dict[str, str] = {}
        self.calls: list[Call] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.url = ""

    def add(self, region: str, image: str, **what: Any) -> FakeImage:
        """Put an image, with its snapshots, into a region."""
        made = self.images[region][image] = FakeImage(**what)
        self.snapshots.update({snapshot: {} for snapshot in made.snapshots})
        return made

    def fail(self, action: str, *faults: Fault) -> None:
        """Have the next calls of an action fail, one fault each."""
        self.faults[action].extend(faults)

    def of(self, action: str) -> list[Call]:
        """Return the calls of an action, in order."""
        return [call for call in self.calls if call.action == action]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        parameters = {**request.query, **dict(await request.post())}
        said = {str(key): str(value) for key, value in parameters.items()}
        action = request.headers.get("x-acs-action") or said.get("Action", "")
        call = Call(action, said.get("RegionId", ""), said, dict(request.headers))
        self.calls.append(call)
        fault = self.faults[action].pop(0) if self.faults[action] else None
        if fault is None or fault.after:
            answer = self._answer(call)
        if fault is None:
            return answer
        if fault.reset:
            assert request.transport is not None
            request.transport.abort()
        if fault.html:
            page = "<html><body>503 Service Temporarily Unavailable</body></html>"
            return web.Response(status=fault.status, text=page, content_type="text/html")
        return _error(fault.code, fault.message, fault.status, fault.headers)

    def _answer(self, call: Call) -> web.Response:
        operation: Callable[[Call], dict[str, Any]] | None = getattr(self, call.action, None)
        try:
            if operation is None:
                raise ApiError("InvalidAction.NotFound", f"{call.action} is not known here", 404)
            return web.json_response({"RequestId": f"R-{len(self.calls)}", **operation(call)})
        except ApiError as error:
            return _error(error.code, error.message, error.status, {})

    def _image(self, call: Call) -> FakeImage:
        image = self.images[call.region].get(call.parameters["ImageId"])
        if image is None:
            raise ApiError("InvalidImageId.NotFound", "The specified ImageId does not exist.", 404)
        return image

    def _shown(self, region: str, name: str) -> dict[str, Any]:
        image = self.images[region][name]
        mappings = [{"SnapshotId": snapshot, "Type": "system"} for snapshot in image.snapshots]
        return {
            "ImageId": name,
            "ImageFamily": image.family,
            "ImageOwnerAlias": image.owner,
            "Status": image.status,
            "Progress": "100%" if image.status == "Available" else "40%",
            "DiskDeviceMappings": {"DiskDeviceMapping": mappings},
            "Size": 20,
        }

    def DescribeImages(self, call: Call) -> dict[str, Any]:
        said = call.parameters
        owners = [said["ImageOwnerAlias"]] if said.get("ImageOwnerAlias") else ["self", "system", "others"]
        shown = []
        for name, image in self.images[call.region].items():
            wanted = said.get("Status", "Available") in ("ALL", image.status)
            if said.get("ImageId", name) == name and image.owner in owners and wanted and "ImageName" not in said:
                shown.append(self._shown(call.region, name))
                image.polls = max(0, image.polls - 1)
        return {"Images": {"Image": shown}, "PageNumber": 1, "PageSize": 10, "TotalCount": len(shown)}

    def DescribeImageFromFamily(self, call: Call) -> dict[str, Any]:
        mine = [name for name, i in self.images[call.region].items() if i.family == call.parameters["ImageFamily"]]
        return {"Image": self._shown(call.region, mine[-1])} if mine else {}

    def ModifyImageAttribute(self, call: Call) -> dict[str, Any]:
        image = self._image(call)
        image.family = call.parameters.get("ImageFamily", image.family)
        image.imds = call.parameters.get("Features.ImdsSupport", image.imds)
        return {}

    def TagResources(self, call: Call) -> dict[str, Any]:
        said = call.parameters
        tags = {said[f"Tag.{n}.Key"]: said[f"Tag.{n}.Value"] for n in range(1, 21) if f"Tag.{n}.Key" in said}
        for number in range(1, 51):
            if name := said.get(f"ResourceId.{number}"):
                if said["ResourceType"] == "image":
                    self.images[call.region][name].tags.update(tags)
                else:
                    self.snapshots[name].update(tags)
        return {}

    def DeleteImage(self, call: Call) -> dict[str, Any]:
        image = self.images[call.region].get(call.parameters["ImageId"])
        if image and image.in_use and call.parameters.get("Force", "").lower() != "true":
            raise ApiError("ImageUsingByInstance", "The specified image has been used to create instances.", 403)
        if image and image.shared:
            raise ApiError("ImageUseShared", "The specified image has been shared to others.", 403)
        self.images[call.region].pop(call.parameters["ImageId"], None)
        return {}

    def DeleteSnapshot(self, call: Call) -> dict[str, Any]:
        if self.snapshots.pop(call.parameters["SnapshotId"], None) is None:
            raise ApiError("InvalidSnapshotId.NotFound", "The specified snapshot does not exist.", 404)
        return {}

    def DescribeImageSharePermission(self, call: Call) -> dict[str, Any]:
        accounts = [{"AliyunId": account} for account in self._image(call).shared]
        return {"Accounts": {"Account": accounts}, "TotalCount": len(accounts)}

    def ModifyImageSharePermission(self, call: Call) -> dict[str, Any]:
        image = self._image(call)
        # ECS looks at the first ten only.
        gone = [call.parameters.get(f"RemoveAccount.{number}") for number in range(1, 11)]
        image.shared = [account for account in image.shared if account not in gone]
        return {}

    # What Packer asks for on its way to an instance, which it does not get.

    def DescribeRegions(self, call: Call) -> dict[str, Any]:
        return {
            "Regions": {"Region": [{"RegionId": name, "LocalName": name} for name in ("cn-hangzhou", "cn-beijing")]}
        }

    def DescribeVpcs(self, call: Call) -> dict[str, Any]:
        vpc = {"VpcId": call.parameters.get("VpcId", "vpc-bp1example01"), "Status": "Available"}
        return {"Vpcs": {"Vpc": [vpc]}, "TotalCount": 1}

    def DescribeVSwitches(self, call: Call) -> dict[str, Any]:
        vswitch = {
            "VSwitchId": call.parameters.get("VSwitchId", "vsw-1"),
            "VpcId": "vpc-bp1example01",
            "Status": "Available",
        }
        return {"VSwitches": {"VSwitch": [{**vswitch, "ZoneId": "cn-hangzhou-h"}]}, "TotalCount": 1}

    def DescribeSecurityGroups(self, call: Call) -> dict[str, Any]:
        group = {"SecurityGroupId": call.parameters.get("SecurityGroupId", "sg-1"), "VpcId": "vpc-bp1example01"}
        return {"SecurityGroups": {"SecurityGroup": [group]}, "TotalCount": 1}

    def CreateKeyPair(self, call: Call) -> dict[str, Any]:
        name = call.parameters["KeyPairName"]
        self.key_pairs[name] = "PRIVATE-KEY-OF-THE-BUILD"
        return {"KeyPairName": name, "KeyPairFingerPrint": "00", "PrivateKeyBody": self.key_pairs[name]}

    def DeleteKeyPairs(self, call: Call) -> dict[str, Any]:
        for name in list(self.key_pairs):
            if name in call.parameters["KeyPairNames"]:
                del self.key_pairs[name]
        return {}

    def CreateInstance(self, call: Call) -> dict[str, Any]:
        raise ApiError("OperationDenied.NoStock", "The requested resource is sold out in the specified zone.", 403)


def _error(code: str, message: str, status: int, headers: Mapping[str, str]) -> web.Response:
    body = {"RequestId": "R-0815", "HostId": "ecs", "Code": code, "Message": message, "Recommend": ""}
    return web.json_response(body, status=status, headers=dict(headers))


@contextmanager
def serving(ecs: FakeEcs) -> Iterator[FakeEcs]:
    """Serve on a free port of 127.0.0.1, in a thread, until the block ends."""
    loop = asyncio.new_event_loop()
    # User-data travels in the request line.
    runner = web.AppRunner(_app(ecs), max_line_size=131_072)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    ecs.url = f"http://127.0.0.1:{loop.run_until_complete(start())}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield ecs
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _app(ecs: FakeEcs) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", ecs.handle)
    return app
