"""`plan`: the reads behind it, put together. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from generator.cloud import instances
from generator.cloud.client import Cloud
from generator.cloud.faults import ApiRefusedError
from generator.fleet import checks, cost, opening, plan, preflight
from generator.fleet.actions import Actions
from generator.fleet.cost import Estimate
from generator.fleet.desired import Desired
from generator.fleet.diff import diff
from generator.fleet.launch import Compared
from generator.fleet.observe import look
from generator.fleet.opening import Opened
from generator.fleet.plan import SCHEMA_VERSION, Plan
from generator.fleet.preflight import Unknown, Use
from generator.fleet.quotas import QUOTAS
from generator.spec.findings import Finding, FindingsError, Problem


@dataclass(frozen=True)
class Review:
    """A plan with what was found before it; `plan` is None when the fleet names what is not there.

    `findings` are the problems at their places in the file, and the warnings that the file has by itself.
    """

    fleet: str
    region: str
    plan: Plan | None
    problems: tuple[Problem, ...]
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
    uses: tuple[Use, ...] = ()
    estimate: Estimate | None = None

    @property
    def has_errors(self) -> bool:
        """Whether a launch would fail, as far as can be told."""
        return any(problem.severity == "error" for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Return the review with stable keys."""
        return {
            "schema_version": SCHEMA_VERSION,
            "fleet": self.fleet,
            "region": self.region,
            "ok": not self.has_errors,
            "changes": bool(self.plan and self.plan.is_change),
            "plan": self.plan.to_json() if self.plan else None,
            "calls_a_minute": {api: quota.calls for api, quota in QUOTAS.items()},
            "findings": [finding.as_json() for finding in self.findings],
            "quotas": [asdict(one) for one in self.uses],
            "unknown": [{"what": one.what, "why": one.why} for one in self.unknown],
            "cost": self.estimate.to_json() if self.estimate else None,
        }


def review(cloud: Cloud, opened: Opened, *, dry_run: bool = False) -> Review:
    """Read all that a plan is made of, and make it. With `dry_run` ECS checks RunInstances as well (DryRun)."""
    spec = opened.spec
    facts = preflight.gather(cloud, spec, len(opened.user_data))
    if standing := tuple(checks.standing(spec, facts)):
        return Review(spec.name, spec.region, None, standing, opened.findings(standing), facts.unknown)
    goal = opening.wanted(cloud, opened)
    seen = look(cloud, goal)
    actions = diff(goal, seen)
    problems = list(checks.problems(spec, seen, goal, actions, facts))
    unknown = preflight.unknown(goal, facts)
    if dry_run and actions.create:
        if groups := goal.groups or tuple(group.id for group in seen.groups):
            problems += _dry_run(cloud, goal, actions, groups)
        else:
            unknown = (*unknown, Unknown("what a dry run says", "the security group is still to be made"))
    return Review(
        fleet=spec.name,
        region=spec.region,
        plan=plan.plan(goal, actions),
        problems=tuple(problems),
        findings=opened.findings(problems),
        unknown=unknown,
        uses=preflight.uses(spec, goal, actions, facts),
        estimate=cost.estimate(cloud, goal),
    )


def cleared(cloud: Cloud, opened: Opened, compared: Compared | None) -> tuple[Finding, ...]:
    """Return the warnings of a launch; raise `FindingsError` where a plan has errors.

    Without a comparison only what the file names is judged.
    """
    facts = preflight.gather(cloud, opened.spec, len(opened.user_data))
    problems = list(checks.standing(opened.spec, facts))
    if compared and not problems:
        goal, seen, actions = compared
        problems += checks.problems(opened.spec, seen, goal, actions, facts)
    found = tuple(one for one in opened.findings(problems) if one not in opened.warnings)
    if any(one.severity == "error" for one in problems):
        error = FindingsError(found)
        error.hint = "nothing was made; see `multieip plan`, or launch all the same with --no-checks"
        raise error
    return found


def _dry_run(cloud: Cloud, goal: Desired, actions: Actions, groups: tuple[str, ...]) -> Iterator[Problem]:
    """Have ECS check the order of one instance of each type: permissions, money and limits that no read tells."""
    from generator.fleet.running import order_of  # noqa: PLC0415 - with the engine

    order = order_of(goal, "plan", groups, min(actions.create), 1)
    for number, kind in enumerate(goal.types):
        try:
            instances.check(cloud, order, kind=kind, vswitch=goal.places[0].vswitch, amount=1)
        except ApiRefusedError as refusal:
            remedy = refusal.hint or "see the message"
            yield Problem(("instance_types", number), "dry-run", refusal.message, remedy)
