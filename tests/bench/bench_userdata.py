"""User-data for many instances, against Jinja2 alone: the same template and values, escaped beforehand.

Jinja2's side has an environment without our guard against values that nobody escaped, filters that do nothing, and
values that are in YAML's syntax already. Both sides must give the same bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from jinja2 import Environment

from generator import resources
from generator.errors import MultieipError
from generator.render import userdata
from generator.render.escape import FILTERS, yaml
from generator.render.files import File
from generator.spec.image import load
from tests.bench import Row, in_turns, seconds

INSTANCES = 10_000
ROUNDS = 5
PATH = "etc/multieip/layout.json"


def rows() -> Iterator[Row]:
    """Yield a row for each form; each instance gets a file of its own."""
    files = [json.dumps({"instance": number, "enis": [f"eni-{number:08x}"]}) for number in range(INSTANCES)]
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    environment.filters.update(dict.fromkeys(FILTERS, str))
    source = (resources.folder("templates") / "cloud-init" / "user-data.yaml.j2").read_text(encoding="utf-8")
    template = environment.from_string(source)
    for form in userdata.Form:
        prepared = userdata.prepare(load("debian-12"), form)
        values = dict(prepared.values)
        entries = [{"path": str(yaml(f"/{PATH}")), "content": str(yaml(text))} for text in files]

        def ours(prepared: userdata.Prepared = prepared) -> list[bytes]:
            return [prepared.render({PATH: File(text.encode())}) for text in files]

        def jinja(values: dict[str, object] = values, entries: list[dict[str, str]] = entries) -> list[bytes]:
            return [template.render(**values, files=[entry]).encode() for entry in entries]

        if ours() != jinja():
            raise MultieipError("the two sides of the user-data benchmark do not render the same")
        best = in_turns({"ours": _timed(ours), "jinja": _timed(jinja)}, ROUNDS)
        speed = best["jinja"] / best["ours"]
        yield Row(
            f"{form} user-data for {INSTANCES:,} instances",
            f"{seconds(best['ours'])}",
            f"jinja2's render: {seconds(best['jinja'])}",
            best["ours"] / best["jinja"],
            "at most 2x its time",
            speed >= 0.5,
        )


def _timed(work: Callable[[], list[bytes]]) -> Callable[[], float]:
    def run() -> float:
        begun = time.process_time()
        work()
        return time.process_time() - begun

    return run
