"""What `multieip sandbox exec`, `env` and `inject` do for clients, and what never reaches them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.sandbox.commands import Sandbox
from tests.sandbox.region import LAUNCH, REGION, Cloud, call, clients, refusal

SECRET = "LTAI-of-an-account-that-is-billed"
# Where clients look for an account, and for a way around the sandbox.
LEADING = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": SECRET,
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
    "ALIBABA_CLOUD_SECURITY_TOKEN": SECRET,
    "ALIBABA_CLOUD_CREDENTIALS_FILE": SECRET,
    "ALIBABA_CLOUD_PROFILE": SECRET,
    "ALIBABA_CLOUD_CREDENTIALS_URI": SECRET,
    "ALICLOUD_ACCESS_KEY": SECRET,
    "ALICLOUD_SECRET_KEY": SECRET,
    "ALICLOUD_SECURITY_TOKEN": SECRET,
    "ALICLOUD_SHARED_CREDENTIALS_FILE": SECRET,
    "ALICLOUD_PROFILE": SECRET,
    "SECURITY_TOKEN": SECRET,
    "HTTPS_PROXY": f"http://{SECRET}:1",
    "https_proxy": f"http://{SECRET}:1",
    "MULTIEIP_ECS_ENDPOINT": f"https://{SECRET}",
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox that runs, of the API alone."""
    made = Sandbox(tmp_path_factory.mktemp("sandbox") / "s", "--api-only", "--eips", "100")
    made.up()
    yield made
    made.down()


@pytest.fixture
def region(sandbox: Sandbox) -> Iterator[tuple[Any, Any]]:
    """Its clients; no fault waits after the test."""
    yield clients(sandbox.status()["url"])
    assert sandbox.do("inject", "clear").returncode == 0
    assert sandbox.status()["faults"] == []


# exec


def test_an_exit_code_is_the_commands(sandbox: Sandbox) -> None:
    done = sandbox.run("sh", "-c", "cat; echo said >&2; exit 41", stdin="asked\n")
    assert (done.returncode, done.stdout, done.stderr) == (41, "asked\n", "said\n")


def test_a_signal_is_the_commands(sandbox: Sandbox) -> None:
    assert sandbox.run("sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_options_of_a_command_are_its_own(sandbox: Sandbox) -> None:
    assert sandbox.run("echo", "--help", "--dir", "x", "--").stdout == "--help --dir x --\n"


def test_a_command_that_is_not_there_is_named(sandbox: Sandbox) -> None:
    done = sandbox.run("no-such-command")
    assert done.returncode == 5
    assert "no-such-command is not installed" in done.stderr


def test_a_real_key_of_the_caller_never_reaches_a_command(sandbox: Sandbox) -> None:
    done = sandbox.run("env", env=LEADING | {"KEPT": "by the way"})
    assert SECRET not in done.stdout
    assert "KEPT=by the way\n" in done.stdout
    assert f"MULTIEIP_ENDPOINT={sandbox.status()['url']}\n" in done.stdout
    assert "MULTIEIP_CLOCK=" in done.stdout


def test_a_command_finds_the_region_by_its_environment(sandbox: Sandbox) -> None:
    script = (
        "import json, os; from tests.sandbox.region import call, clients\n"
        "ecs, _ = clients('http://' + os.environ['ALIBABA_CLOUD_ENDPOINT'],"
        " os.environ['ALIBABA_CLOUD_ACCESS_KEY_ID'], os.environ['ALIBABA_CLOUD_ACCESS_KEY_SECRET'])\n"
        "os.environ.pop('HTTP_PROXY')\n"
        "found = call(ecs, 'DescribeZones', {'region_id': os.environ['ALIBABA_CLOUD_REGION_ID']})\n"
        "print(json.dumps([zone.zone_id for zone in found.zones.zone]))\n"
    )
    done = sandbox.run(sys.executable, "-c", script)
    assert "cn-hangzhou-h" in json.loads(done.stdout), done.stderr


def test_the_environment_is_for_a_shell(sandbox: Sandbox) -> None:
    said = sandbox.do("env").stdout
    shown = subprocess.run(["sh", "-c", f"{said}\nenv"], capture_output=True, text=True, check=True, env={}).stdout
    inside = sandbox.run("env").stdout.splitlines()
    assert {line for line in shown.splitlines() if "multieip" in line or "127.0.0.1" in line} <= set(inside)
    assert f"HTTP_PROXY={sandbox.status()['url']}" in shown.splitlines()


# Keys


@pytest.mark.parametrize(("key", "secret"), [(SECRET, SECRET), ("multieip-no-account", SECRET)])
def test_another_key_is_refused(sandbox: Sandbox, key: str, secret: str) -> None:
    ecs, _ = clients(sandbox.status()["url"], key, secret)
    code, _ = refusal(lambda: call(ecs, "DescribeRegions", {}))
    assert code in ("InvalidAccessKeyId.NotFound", "SignatureDoesNotMatch")
    assert SECRET not in sandbox.log()


# inject


def inject(sandbox: Sandbox, *arguments: str) -> None:
    done = sandbox.do("inject", *arguments)
    assert done.returncode == 0, done.stderr


def zones(region: tuple[Any, Any]) -> int:
    return len(call(region[0], "DescribeZones", {"region_id": REGION}).zones.zone)


def allocated(region: tuple[Any, Any]) -> int:
    return int(call(region[1], "DescribeEipAddresses", {"region_id": REGION}).total_count)


def allocate(region: tuple[Any, Any]) -> Any:
    return call(region[1], "AllocateEipAddress", {"region_id": REGION})


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["throttle"], ("Throttling.User", 400)),
        (["error", "--code", "OperationDenied.Sold", "--status", "403"], ("OperationDenied.Sold", 403)),
        (["error"], ("InternalError", 500)),
    ],
)
def test_a_code_is_met_by_as_many_calls_of_the_action_as_were_asked_for(
    sandbox: Sandbox, region: tuple[Any, Any], arguments: list[str], seen: tuple[str, int]
) -> None:
    inject(sandbox, *arguments, "--action", "DescribeZones", "--count", "2")
    assert allocated(region) >= 0
    assert [refusal(lambda: zones(region)) for _ in range(2)] == [seen, seen]
    assert zones(region)


def test_a_page_of_a_gateway_is_no_answer(sandbox: Sandbox, region: tuple[Any, Any]) -> None:
    inject(sandbox, "unavailable", "--action", "DescribeZones")
    with pytest.raises(Exception, match=r"503|Expecting value"):
        zones(region)
    assert zones(region)


@pytest.mark.parametrize(("kind", "made"), [("lost", 1), ("reset", 0)])
def test_a_broken_connection_says_not_whether_the_change_was_made(
    sandbox: Sandbox, region: tuple[Any, Any], kind: str, made: int
) -> None:
    before = allocated(region)
    inject(sandbox, kind, "--action", "AllocateEipAddress")
    with pytest.raises(Exception, match=r"Connection aborted|Remote end closed|reset by peer"):
        allocate(region)
    assert allocated(region) == before + made


def test_slow_takes_its_time(sandbox: Sandbox, region: tuple[Any, Any]) -> None:
    inject(sandbox, "slow", "--seconds", "0.6")
    began = time.monotonic()
    zones(region)
    assert time.monotonic() - began >= 0.6


def test_stock_runs_out(sandbox: Sandbox, region: tuple[Any, Any]) -> None:
    inject(sandbox, "no-stock", "--amount", "1", "--count", "2")
    assert refusal(lambda: call(region[0], "RunInstances", {**LAUNCH, "amount": 3}))[0] == "OperationDenied.NoStock"
    some = call(region[0], "RunInstances", {**LAUNCH, "amount": 3, "min_amount": 1})
    assert len(some.instance_id_sets.instance_id_set) == 1


def test_instances_vanish_after_they_were_answered(sandbox: Sandbox, region: tuple[Any, Any]) -> None:
    inject(sandbox, "vanish", "--amount", "1")
    ids = call(region[0], "RunInstances", {**LAUNCH, "amount": 2}).instance_id_sets.instance_id_set
    assert len(ids) == 2
    asked = {"region_id": REGION, "instance_ids": json.dumps(ids)}

    def there() -> int:
        return len(call(region[0], "DescribeInstances", asked).instances.instance)

    Cloud.until(lambda: there() == 2)
    Cloud.until(lambda: there() == 1)


def test_a_fault_of_all_calls_lasts_until_it_is_cleared(sandbox: Sandbox, region: tuple[Any, Any]) -> None:
    inject(sandbox, "throttle", "--count", "0")
    assert [refusal(lambda: zones(region))[0] for _ in range(5)] == ["Throttling.User"] * 5
    assert "1 faults wait" in sandbox.do("status").stderr
    inject(sandbox, "clear")
    assert zones(region)


def test_a_chance_is_neither_always_nor_never(sandbox: Sandbox, region: tuple[Any, Any]) -> None:
    inject(sandbox, "throttle", "--count", "0", "--probability", "0.5")
    met = [_refused(lambda: zones(region)) for _ in range(40)]
    assert 5 <= sum(met) <= 35


def _refused(work: Callable[[], object]) -> bool:
    try:
        work()
    except Exception:
        return True
    return False


@pytest.mark.parametrize(
    "wrong", [["no-such-kind"], ["error", "--status", "200"], ["slow", "--seconds", "-1"], ["reset", "--count", "-1"]]
)
def test_what_cannot_be_is_a_mistake_of_usage(sandbox: Sandbox, wrong: list[str]) -> None:
    done = sandbox.do("inject", *wrong)
    assert done.returncode == 2
    assert sandbox.status()["faults"] == []
