"""`plan`: the reads behind it, put together. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from generator.cloud.client import Cloud
from generator.fleet import checks, cost, opening, plan, preflight
from generator.fleet.cost import Estimate
from generator.fleet.diff import diff
from generator.fleet.observe import look
from generator.fleet.opening import Opened
from generator.fleet.plan import SCHEMA_VERSION, Plan
from generator.fleet.preflight import Unknown
from generator.fleet.quotas import QUOTAS
from generator.spec.findings import Finding


@dataclass(frozen=True)
class Review:
    """A plan with what was found before it; `plan` is None when the fleet names what is not there."""

    fleet: str
    region: str
    plan: Plan | None
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
    estimate: Estimate | None

    @property
    def has_errors(self) -> bool:
        """Whether a launch would fail, as far as can be told."""
        return any(finding.severity == "error" for finding in self.findings)

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
            "unknown": [{"what": one.what, "why": one.why} for one in self.unknown],
            "cost": self.estimate.to_json() if self.estimate else None,
        }


def review(cloud: Cloud, opened: Opened) -> Review:
    """Read all that a plan is made of, and make it."""
    # The workflow of a launch brings the durable engine along, and only how it splits numbers is needed.
    from generator.fleet.launching import stretches  # noqa: PLC0415

    spec = opened.spec
    facts = preflight.gather(cloud, spec, len(opened.user_data))
    if standing := tuple(checks.standing(spec, facts)):
        return Review(spec.name, spec.region, None, opened.findings(standing), facts.unknown, None)
    goal = opening.wanted(cloud, opened)
    actions = diff(goal, look(cloud, goal))
    return Review(
        fleet=spec.name,
        region=spec.region,
        plan=plan.plan(goal, actions, stretches),
        findings=opened.findings(checks.problems(spec, goal, actions, facts)),
        unknown=preflight.unknown(spec, goal, facts),
        estimate=cost.estimate(cloud, goal),
    )
