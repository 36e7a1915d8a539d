"""The lab's fixtures: an instance that several tests use, and new ones for those that need their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from generator.image import base as bases
from tests.lab.candidates import Candidate, Multieip, example_spec
from tests.lab.disturbances import BOOT
from tests.lab.lab import Lab
from tests.lab.layout import USUAL, Layout
from tests.lab.needs import why_not
from tests.lab.sandboxes import GoldenSandbox, Machines, golden_layers

NewLab = Callable[..., Lab]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    reason = why_not()
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.lab)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def base() -> Path:
    """The tree of the base system."""
    return bases.folder(example_spec())


@pytest.fixture(scope="session")
def candidate() -> Candidate:
    """What is tested."""
    return Multieip(example_spec())


@pytest.fixture
def new_lab(base: Path, candidate: Candidate) -> Iterator[NewLab]:
    """Makes labs that are not booted, and removes them."""
    with ExitStack() as stack:

        def make(layout: Layout = USUAL, of: Candidate = candidate, **options: object) -> Lab:
            return stack.enter_context(Lab(of, base, layout, **options))  # type: ignore[arg-type]

        yield make


class Shared:
    """One booted instance for many tests. A test that leaves it unwell costs the next one a new instance."""

    def __init__(self, candidate: Candidate, base: Path) -> None:
        self._candidate, self._base = candidate, base
        self._lab: Lab | None = None

    def get(self) -> Lab:
        """Return an instance that is well."""
        if self._lab is not None:
            repair = self._lab.watch(5)
            if repair.after is not None:
                return self._lab
            self.close()
        lab = Lab(self._candidate, self._base)
        self._lab = lab
        lab.boot()
        repair = lab.watch(BOOT)
        assert repair.after is not None, lab.report("boot", repair.problems)
        return lab

    def close(self) -> None:
        if self._lab is not None:
            self._lab.close()
            self._lab = None


@pytest.fixture(scope="session")
def shared(candidate: Candidate, base: Path) -> Iterator[Shared]:
    held = Shared(candidate, base)
    try:
        yield held
    finally:
        held.close()


@pytest.fixture
def lab(shared: Shared) -> Iterator[Lab]:
    """An instance that is booted and well; it is made whole outside afterwards."""
    lab = shared.get()
    yield lab
    lab.end_faults()


@pytest.fixture(scope="session")
def golden(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The layers of the golden image."""
    return golden_layers(tmp_path_factory.mktemp("golden") / "rootfs", base)


@pytest.fixture
def new_sandbox(golden: tuple[str, str], tmp_path: Path) -> Iterator[Callable[[str], GoldenSandbox]]:
    """Makes sandboxes of their own that are not started, in folders of these names; ends them."""
    made: list[GoldenSandbox] = []

    def make(name: str) -> GoldenSandbox:
        made.append(GoldenSandbox(tmp_path / name, golden))
        return made[-1]

    yield make
    for one in made:
        one.down()


@pytest.fixture(scope="session")
def running(golden: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoldenSandbox]:
    """A sandbox that runs, for tests whose instances are their own."""
    sandbox = GoldenSandbox(tmp_path_factory.mktemp("running") / "sandbox", golden)
    sandbox.begin()
    yield sandbox
    sandbox.down()


@pytest.fixture
def region(running: GoldenSandbox) -> Iterator[Machines]:
    """The region of the running sandbox; what a test makes in it is gone after the test."""
    with running.region() as region:
        yield region
