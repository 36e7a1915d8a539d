"""The durable workflows. A step's outcome is kept; one that was cut short is done again, by the same client tokens.

Workflows take turns and decisions from what is kept alone, so that going on means doing the same again. They import
the durable engine, so this module is imported only where an engine is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dbos import DBOS, SetWorkflowID

from generator.cloud import instances
from generator.fleet import names
from generator.fleet.calls import CALLS, Failure, Outcome, attempt
from generator.fleet.engine import process
from generator.fleet.quotas import queue

T = TypeVar("T")


@DBOS.workflow(name="calls")
def calls(region: str, api: str, items: Sequence[Any]) -> list[Outcome]:
    """Make a batch of calls of one API. The first that fails for good ends it."""
    return _calls(region, api, items, str(DBOS.workflow_id))


@DBOS.step(name="batch")
def _calls(region: str, api: str, items: Sequence[Any], workflow: str) -> list[Outcome]:
    cloud, outcomes = process().cloud(region), []
    for number, item in enumerate(items):
        outcome = attempt(lambda item=item, number=number: CALLS[api](cloud, item, names.token(workflow, number)))  # type: ignore[misc]
        outcomes.append(outcome)
        if outcome.failure is None:
            process().count(workflow, api)
        if outcome.failure and outcome.failure.fatal:
            break
    return outcomes


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield items in parts of a size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


@dataclass
class Batch:
    """A batch that was enqueued. `outcomes` waits for it."""

    api: str
    items: Sequence[Any]
    handle: Any

    def outcomes(self) -> list[tuple[Any, Outcome]]:
        """Return each item with what became of it; those after a failure for good were not tried."""
        found = process().result(self.handle)
        done = sum(outcome.failure is None for outcome in found)
        process().count_once(self.handle.get_workflow_id(), self.api, done)
        return list(zip(self.items, found, strict=False))


@DBOS.step(name="sizes")
def _sizes() -> dict[str, int]:
    """Return the sizes of batches. They are kept: a run that goes on under other quotas must divide its calls alike."""
    return {api: quota.batch for api, quota in process().quotas.items()}


class Queues:
    """Enqueues batches of one run, each under a name that says which it is."""

    def __init__(self, run: str, region: str) -> None:
        self.run, self.region = run, region
        self.sizes = _sizes()
        self._numbers: dict[str, int] = {}

    def name(self, what: str) -> str:
        """Return the name of the next workflow of a kind."""
        number = self._numbers[what] = self._numbers.get(what, 0) + 1
        return f"{self.run}.{what}.{number}"

    def add(self, api: str, items: Sequence[Any]) -> Batch:
        """Enqueue one batch."""
        with SetWorkflowID(self.name(api)):
            return Batch(api, items, DBOS.enqueue_workflow(queue(api, self.region), calls, self.region, api, items))

    def add_all(self, api: str, items: Sequence[Any]) -> list[Batch]:
        """Enqueue items in batches as large as the API's quota is divided into."""
        return [self.add(api, part) for part in parts(items, self.sizes[api])]

    def do(self, api: str, items: Sequence[Any]) -> Iterator[tuple[Any, Outcome]]:
        """Enqueue items, and yield each with what became of it, in order. The first failure for good ends it."""
        yield from collect(self, self.add_all(api, items))

    def end(self) -> None:
        """Take back what was enqueued and has not begun."""
        waiting = DBOS.list_workflows(status="ENQUEUED", workflow_id_prefix=f"{self.run}.", load_input=False)
        DBOS.cancel_workflows([one.workflow_id for one in waiting if one.workflow_id != self.run])


def collect(queues: Queues, batches: Iterable[Batch]) -> Iterator[tuple[Any, Outcome]]:
    """Yield each item of batches with what became of it. The first failure for good is yielded last."""
    for batch in batches:
        for item, outcome in batch.outcomes():
            yield item, outcome
            if outcome.failure and outcome.failure.fatal:
                queues.end()
                return


@DBOS.step(name="tag")
def tag(region: str, kind: str, ids: Sequence[str], tags: tuple[tuple[str, str], ...]) -> Failure | None:
    """Put tags on resources of ECS."""
    return attempt(lambda: instances.tag(process().cloud(region), kind, ids, tags)).failure
