"""The sandbox as a whole: from RunInstances to packets through every EIP, by the number of instances."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import Row, seconds, unmeasured

if TYPE_CHECKING:
    from tests.lab.sandboxes import Machines

COUNTS = (1, 10, 20)
EIPS = 3
WHAT = "region: RunInstances to all EIPs answering"
GOAL = 5.0


def rows() -> Iterator[Row]:
    """Yield a row for each number of instances, each with a secondary ENI and an EIP on each of three private IPs."""
    from tests.lab.needs import why_not

    if reason := why_not():
        yield unmeasured(WHAT, f"< {GOAL:.0f} s", reason)
        return
    from generator.image import base as bases
    from tests.lab.candidates import example_spec
    from tests.lab.sandboxes import GoldenSandbox, golden_layers

    with tempfile.TemporaryDirectory(prefix="multieip-bench-") as name:
        folder = Path(name)
        sandbox = GoldenSandbox(folder / "sandbox", golden_layers(folder / "rootfs", bases.folder(example_spec())))
        sandbox.begin()
        try:
            one = 0.0
            for count in COUNTS:
                with sandbox.region() as region:
                    taken = _launch(region, count)
                one = one or taken
                goal = f"< {GOAL:.0f} s" if count == 1 else "-"
                met = taken < GOAL if count == 1 else None
                what = f"{WHAT}, {count} x {EIPS} EIPs"
                yield Row(what, seconds(taken), f"1 instance: {seconds(one)}", taken / one, goal, met)
        finally:
            sandbox.down()


def _launch(region: Machines, count: int) -> float:
    """Return the seconds from RunInstances until each EIP of `count` instances has answered; EIPs are there before."""
    free = [region.allocate() for _ in range(count * EIPS)]
    begun = time.monotonic()
    instances = region.boot(amount=count, enis=1)
    enis = [eni for instance in instances for eni in region.enis(instance)]
    given: dict[str, str] = {}

    def associate(eni: Any) -> None:
        for private in eni.private_ip_sets.private_ip_set:
            eip, address = free.pop()
            region.bind(eip, eni.network_interface_id, private.private_ip_address)
            given[private.private_ip_address] = address

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(associate, enis))
    left = region.wait_for_answers(given, 120)
    taken = time.monotonic() - begun
    if left:
        raise AssertionError(f"no answer from {left}")
    return taken
