"""Whatever clients do, in whatever order: what must hold in a region holds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from generator.sandbox.api import dispatch
from generator.sandbox.api.errors import ApiError
from generator.sandbox.region.account import Account
from generator.sandbox.region.behaviour import Behaviour
from generator.sandbox.region.clock import SteppedClock
from generator.sandbox.region.model import Eip, Eni, Instance, VSwitch
from generator.sandbox.region.seeding import TYPES
from tests.sandbox.region import IMAGE, REGION, ZONE

QUOTA = 6
STOCK = 4
ANY = st.integers(0, 30)


class Region(RuleBasedStateMachine):
    """Calls with targets picked from what is there, so that most of them are nearly right."""

    @initialize()
    def begin(self) -> None:
        self.clock = SteppedClock()
        self.account = Account(
            clock=self.clock,
            behaviour=Behaviour(eips=QUOTA, windows=None, stock={(ZONE, "ecs.c6.large"): STOCK}),
        )
        self.region = self.account.regions[REGION]
        vpc = self.call("vpc", "CreateVpc", CidrBlock="10.0.0.0/16")["VpcId"]
        # Room for 28 private IPs, so that it runs out.
        self.switch = self.call("vpc", "CreateVSwitch", VpcId=vpc, ZoneId=ZONE, CidrBlock="10.0.0.0/27")["VSwitchId"]
        self.group = self.call("ecs", "CreateSecurityGroup", VpcId=vpc)["SecurityGroupId"]

    def teardown(self) -> None:
        self.account.close()

    def call(self, product: str, name: str, **parameters: Any) -> dict[str, Any]:
        """Call without the wire: what a client may send, as it is parsed."""
        flat = {key.replace("__", "."): str(value) for key, value in parameters.items()}
        self.account.settle()
        action = dispatch.find(product, name)
        return dispatch.carry_out(dispatch.prepare(self.account, action, {"RegionId": REGION, **flat}))

    def attempt(self, product: str, name: str, **parameters: Any) -> None:
        before, refused = self.snapshot(), ""
        try:
            self.call(product, name, **parameters)
        except ApiError as refusal:
            refused = refusal.code
        assert not refused or self.snapshot() == before, f"{name} was refused ({refused}) and changed something"
        # A transition lasts for a few calls.
        self.clock.advance(0.05)

    def snapshot(self) -> tuple[Any, ...]:
        self.account.settle()
        return tuple(tuple(self.region.all(kind)) for kind in (Instance, Eni, Eip))

    def pick(self, kind: type[Any], number: int, **wanted: str) -> Any:
        """Pick a record, two times of three one that is as wanted, if there is one."""
        found = self.region.all(kind)
        apt = [one for one in found if all(getattr(one, name) == value for name, value in wanted.items())]
        found = apt if apt and number % 3 else found
        return found[number % len(found)] if found else None

    @rule(amount=st.integers(1, 3), extra=st.integers(0, 3), secondary=st.booleans(), dry=st.booleans())
    def launch(self, amount: int, extra: int, *, secondary: bool, dry: bool) -> None:
        nic = {"NetworkInterface__1__SecondaryPrivateIpAddressCount": extra} if secondary and extra else {}
        self.attempt(
            "ecs",
            "RunInstances",
            ImageId=IMAGE,
            InstanceType="ecs.c6.large",
            VSwitchId=self.switch,
            SecurityGroupId=self.group,
            Amount=amount,
            MinAmount=1,
            DryRun=dry,
            **nic,
        )

    @rule(count=st.integers(0, 3))
    def create_eni(self, count: int) -> None:
        more = {"SecondaryPrivateIpAddressCount": count} if count else {}
        self.attempt("ecs", "CreateNetworkInterface", VSwitchId=self.switch, SecurityGroupId=self.group, **more)

    @rule(number=ANY, other=ANY, name=st.sampled_from(["AttachNetworkInterface", "DetachNetworkInterface"]))
    def plug(self, number: int, other: int, name: str) -> None:
        status = "Available" if name == "AttachNetworkInterface" else "InUse"
        eni = self.pick(Eni, number, type="Secondary", status=status)
        instance = self.pick(Instance, other, status="Running")
        if eni and eni.instance and number % 2:
            instance = self.region.get(Instance, eni.instance)
        if eni and instance:
            self.attempt("ecs", name, NetworkInterfaceId=eni.id, InstanceId=instance.id)

    @rule(number=ANY)
    def delete_eni(self, number: int) -> None:
        if eni := self.pick(Eni, number, status="Available"):
            self.attempt("ecs", "DeleteNetworkInterface", NetworkInterfaceId=eni.id)

    @rule(number=ANY, count=st.integers(1, 4))
    def assign(self, number: int, count: int) -> None:
        if eni := self.pick(Eni, number):
            self.attempt(
                "ecs", "AssignPrivateIpAddresses", NetworkInterfaceId=eni.id, SecondaryPrivateIpAddressCount=count
            )

    @rule(number=ANY, host=st.integers(0, 31))
    def assign_this(self, number: int, host: int) -> None:
        if eni := self.pick(Eni, number):
            self.attempt(
                "ecs", "AssignPrivateIpAddresses", NetworkInterfaceId=eni.id, PrivateIpAddress__1=f"10.0.0.{host}"
            )

    @rule(number=ANY, which=ANY)
    def unassign(self, number: int, which: int) -> None:
        if eni := self.pick(Eni, number):
            address = eni.addresses[which % len(eni.addresses)]
            self.attempt("ecs", "UnassignPrivateIpAddresses", NetworkInterfaceId=eni.id, PrivateIpAddress__1=address)

    @rule(number=ANY, name=st.sampled_from(["StopInstance", "StartInstance", "DeleteInstance"]), force=st.booleans())
    def power(self, number: int, name: str, *, force: bool) -> None:
        status = "Stopped" if name == "StartInstance" else "Running"
        if instance := self.pick(Instance, number, status=status):
            more = {"Force": force} if name == "DeleteInstance" else {}
            self.attempt("ecs", name, InstanceId=instance.id, **more)

    @rule(token=st.sampled_from(["", "a", "b"]))
    def allocate(self, token: str) -> None:
        self.attempt("vpc", "AllocateEipAddress", **({"ClientToken": token} if token else {}))

    @rule(number=ANY, other=ANY, which=ANY)
    def bind(self, number: int, other: int, which: int) -> None:
        eip, eni = self.pick(Eip, number, status="Available"), self.pick(Eni, other, status="InUse")
        if eip and eni:
            self.attempt(
                "vpc",
                "AssociateEipAddress",
                AllocationId=eip.id,
                InstanceId=eni.id,
                InstanceType="NetworkInterface",
                PrivateIpAddress=eni.addresses[which % len(eni.addresses)],
            )

    @rule(number=ANY, name=st.sampled_from(["UnassociateEipAddress", "ReleaseEipAddress"]))
    def unbind(self, number: int, name: str) -> None:
        status = "InUse" if name == "UnassociateEipAddress" else "Available"
        if eip := self.pick(Eip, number, status=status):
            self.attempt("vpc", name, AllocationId=eip.id)

    @rule(seconds=st.sampled_from([0.05, 0.15, 1.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.account.settle()

    @invariant()
    def no_private_ip_is_given_twice_or_reserved(self) -> None:
        for switch in self.region.all(VSwitch):
            network = IPv4Network(switch.cidr)
            given = [one for eni in self.region.all(Eni) if eni.vswitch == switch.id for one in eni.addresses]
            assert len(given) == len(set(given))
            assert set(given) == set(self.region.taken(switch.id))
            usable = range(int(network[1]), int(network[-3]))
            assert all(int(IPv4Address(one)) in usable for one in given)

    @invariant()
    def an_eip_is_bound_to_one_private_ip_and_that_to_no_other(self) -> None:
        bound = [(eip.eni, eip.private_ip) for eip in self.region.all(Eip) if eip.eni]
        assert len(bound) == len(set(bound))
        for eip in self.region.all(Eip):
            assert bool(eip.eni) == (eip.status != "Available")
            if eip.eni:
                assert eip.private_ip in self.region.get(Eni, eip.eni).addresses
                assert self.region.eip_at(eip.eni, eip.private_ip) == eip
        addresses = [eip.address for eip in self.region.all(Eip)]
        assert len(addresses) == len(set(addresses))

    @invariant()
    def quotas_and_limits_of_types_hold(self) -> None:
        assert self.region.count(Eip) <= QUOTA
        assert self.region.count(Instance) <= STOCK
        for instance in self.region.all(Instance):
            enis, kind = self.region.enis_of(instance.id), TYPES[instance.type]
            assert [eni.type for eni in enis].count("Primary") == 1
            assert enis[0].type == "Primary"
            assert len(enis) <= kind.enis
            assert all(len(eni.addresses) <= kind.eni_ips for eni in enis)
            assert all(eni.zone == instance.zone for eni in enis)

    @invariant()
    def statuses_are_what_they_say(self) -> None:
        for eni in self.region.all(Eni):
            assert bool(eni.instance) == (eni.status in ("InUse", "Attaching", "Detaching"))
            assert bool(eni.steps) == (eni.status in ("Attaching", "Detaching", "Deleting"))
            if eni.instance:
                assert self.region.find(Instance, eni.instance)
        for eip in self.region.all(Eip):
            assert bool(eip.steps) == (eip.status in ("Associating", "Unassociating"))

    @invariant()
    def macs_are_unique(self) -> None:
        macs = [eni.mac for eni in self.region.all(Eni)]
        assert len(macs) == len(set(macs))


Region.TestCase.settings = settings(
    max_examples=60, stateful_step_count=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestRegion = pytest.mark.filterwarnings("ignore")(Region.TestCase)
