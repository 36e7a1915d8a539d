"""A small fleet for tests that need no cloud: two instances wanted, one there, with an EIP on each of its ENIs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from generator.cloud.eips import Eip, NewEip
from generator.cloud.enis import Address, Eni
from generator.cloud.instances import Disk, Instance
from generator.fleet import names
from generator.fleet.desired import Desired, WantedEni, Where
from generator.fleet.observe import Observed

ZONE = "cn-hangzhou-h"


def desired(**more: Any) -> Desired:
    """Return a fleet of two instances: one EIP on the primary ENI, one on the first of two IPs of a secondary one."""
    fleet = Desired(
        fleet="web",
        region="cn-hangzhou",
        prefix="web",
        count=2,
        image="m-1",
        types=("ecs.g7.large",),
        places=(Where("vsw-1", ZONE),),
        spread=False,
        vpc="vpc-1",
        groups=("sg-1",),
        rules=(),
        enis=(WantedEni(1, 1, "web-eth0"), WantedEni(2, 1, "web-eth1")),
        eip=NewEip(),
        package="",
        segment=0,
        eip_ids=(),
        tags=(),
        system_disk=Disk("cloud_essd"),
        data_disks=(),
        key_pair="",
        ram_role="",
        resource_group="",
        http_tokens="required",
        deletion_protection=False,
        spot="NoSpot",
        spot_price=0.0,
        spot_hours=1,
        spot_interruption="",
        user_data=b"",
    )
    return replace(fleet, **more)


def observed(*slots: int) -> Observed:
    """Return these instances (the first one, unless others are named) as a launch leaves them."""
    numbers = slots or (1,)
    return Observed(
        instances=tuple(instance(slot) for slot in numbers),
        enis=tuple(eni(slot, index) for slot in numbers for index in (0, 1)),
        eips=tuple(eip(slot, index) for slot in numbers for index in (0, 1)),
    )


def instance(slot: int, **more: Any) -> Instance:
    """Return an instance that runs."""
    found = Instance(
        id=f"i-{slot}",
        name=f"web-{slot:03}",
        status="Running",
        type="ecs.g7.large",
        image="m-1",
        vpc="vpc-1",
        vswitch="vsw-1",
        zone=ZONE,
        groups=("sg-1",),
        enis=(f"eni-{slot}-0", f"eni-{slot}-1"),
        created="2026-11-25T10:00Z",
        http_tokens="required",
        tags=((names.FLEET, "web"),),
    )
    return replace(found, **more)


def eni(slot: int, index: int, **more: Any) -> Eni:
    """Return an ENI in use: 10.0.SLOT.1 on the primary one, .2 and .3 on the secondary one; EIPs on .1 and .2."""
    shown = Address(f"10.0.{slot}.{index + 1}", f"eip-{slot}-{index}", f"198.18.{slot}.{index + 1}")
    found = Eni(
        id=f"eni-{slot}-{index}",
        name="web-eth1" if index else "",
        description=names.owned("web"),
        primary=index == 0,
        status="InUse",
        instance=f"i-{slot}",
        vpc="vpc-1",
        vswitch="vsw-1",
        zone=ZONE,
        groups=("sg-1",),
        addresses=(shown, Address(f"10.0.{slot}.3")) if index else (shown,),
        created="2026-11-25T10:00Z",
        tags=tuple(sorted({names.FLEET: "web", **({names.ENI: str(index)} if index else {})}.items())),
    )
    return replace(found, **more)


def eip(slot: int, index: int, **more: Any) -> Eip:
    """Return an EIP on its private IP."""
    found = Eip(
        id=f"eip-{slot}-{index}",
        address=f"198.18.{slot}.{index + 1}",
        status="InUse",
        target=f"eni-{slot}-{index}",
        private_ip=f"10.0.{slot}.{index + 1}",
        segment="",
        bandwidth="5",
        charge="PayByTraffic",
        isp="BGP",
        created="2026-11-25T10:00Z",
        tags=((names.FLEET, "web"), (names.PLACE, f"{slot}/{index}/0")),
    )
    return replace(found, **more)
