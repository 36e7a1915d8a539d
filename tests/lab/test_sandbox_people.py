"""What a person sees and does in a running sandbox: shells, journals, programs on its internet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.sandboxes import GoldenSandbox, Machines


@pytest.fixture(scope="module")
def machines(running: GoldenSandbox) -> Iterator[tuple[Machines, str, dict[str, str]]]:
    """A region with an instance whose EIPs answer."""
    with running.region() as region:
        instance, eips = region.boot_with_eips(instance_name="web", host_name="web1")
        yield region, instance, eips


Running = tuple[Machines, str, dict[str, str]]


@pytest.mark.parametrize("called", ["id", "name"])
def test_a_shell_is_root_in_the_instance(running: GoldenSandbox, machines: Running, called: str) -> None:
    name = machines[1] if called == "id" else "web"
    done = running.do(
        "shell",
        name,
        stdin="hostname; pwd; id -u; echo $ALICLOUD_SECRET_KEY; exit 7\n",
        env={"ALICLOUD_SECRET_KEY": "secret"},
    )
    assert (done.returncode, done.stdout) == (7, "web1\n/root\n0\n\n"), done.stderr


def test_journals_and_the_log_are_shown(running: GoldenSandbox, machines: Running) -> None:
    said = running.do("logs", "web").stdout
    assert "web1 sshd" in said
    assert "Server listening on" in said
    assert running.status()["url"] in running.do("logs").stdout


@pytest.mark.parametrize("verb", ["shell", "logs"])
def test_an_instance_that_is_not_there_is_named(running: GoldenSandbox, verb: str) -> None:
    done = running.do(verb, "i-nobody")
    assert done.returncode == 2
    assert "there is no instance i-nobody" in done.stderr


def test_status_shows_instances_with_their_eips(running: GoldenSandbox, machines: Running) -> None:
    _, instance, eips = machines
    shown = running.do("status").stdout
    for text in (instance, "web", *eips, *eips.values()):
        assert text in shown


def test_a_program_on_the_internet_reaches_eips_and_the_api_only(running: GoldenSandbox, machines: Running) -> None:
    ((private, eip),) = machines[2].items()
    url = running.status()["url"]
    ask = "bash -c 'exec 3<>/dev/tcp/{}/{} && head -c 4 <&3'"
    assert running.run("sh", "-c", ask.format(eip, 22)).stdout == "SSH-"
    assert running.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/").stdout == "400"
    for address in (private, "192.0.2.1", "1.1.1.1", "172.16.0.250"):
        done = running.run("timeout", "2", "sh", "-c", ask.format(address, 22))
        assert done.returncode != 0
        assert done.stdout == ""
