"""`recurra webhooks` against the real application and a receiver that listens."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from tests.support.fakes.receiver import Receiver, receiver
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import service

Run = Callable[..., Result]


@pytest.fixture
def target() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def run(
    sqlite_template: Path,
    redis_server: Valkey,
    tmp_path: Path,
    target: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["webhooks", *map(str, arguments)])

    path = tmp_path / "test.db"
    path.write_bytes(sqlite_template.read_bytes())
    with service(tmp_path, f"sqlite:///{path}", redis_server.url, webhook_hosts=target.host) as made:
        monkeypatch.setenv("RECURRA_URL", str(made.http.base_url))
        monkeypatch.setenv("COLUMNS", "250")  # a table is not wrapped
        yield invoke


def add(run: Run, target: Receiver, *more: str) -> str:
    """The id of a new webhook."""
    done = run("add", target.url, "--event", "job.failed", "--json", *more)
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["id"])


def test_a_webhook_is_added_with_its_secret_shown_once(run: Run, target: Receiver) -> None:
    events = ("--event", "job.failed", "--event", "job.succeeded")
    done = run("add", target.url, *events, "--description", "the team's channel")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("whsec_")  # alone, so that a script can keep it
    assert len(done.stdout.split()) == 1
    assert "wh_" in done.stderr
    assert "shown this once" in done.stderr
    (entry,) = json.loads(run("list", "--json").stdout)
    assert (entry["events"], entry["description"]) == (["job.succeeded", "job.failed"], "the team's channel")
    header, line = run("list").stdout.splitlines()
    assert header.split() == ["webhook", "url", "events", "omitted", "description", "age"]
    assert entry["id"] in line
    shown = run("show", entry["id"]).stdout
    assert target.url in shown
    assert "job.succeeded, job.failed" in shown
    assert done.stdout.strip() not in shown


def test_a_test_is_delivered_and_listed(run: Run, target: Receiver) -> None:
    webhook = add(run, target)
    done = run("test", webhook)
    assert done.exit_code == 0, done.output
    assert f"recurra webhooks deliveries {webhook}" in done.stderr
    until(
        lambda: json.loads(run("deliveries", webhook, "--json").stdout)[0]["status"] == "delivered",
        what="the delivery",
    )
    header, line = run("deliveries", webhook).stdout.splitlines()
    assert header.split() == ["delivery", "event", "status", "attempts", "answer", "next", "attempt", "age"]
    assert line.split()[1:5] == ["webhook.test", "delivered", "1", "204"]
    assert line.split()[0] == done.stdout.split()[0]


def test_a_webhook_is_removed(run: Run, target: Receiver) -> None:
    webhook = add(run, target)
    done = run("remove", webhook)
    assert (done.exit_code, done.stdout.strip()) == (0, f"{webhook} is removed")
    assert json.loads(run("list", "--json").stdout) == []
    gone = run("show", webhook)
    assert gone.exit_code == 1
    assert "There is no webhook" in gone.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("add", "https://example.com/", "--event", "job.failed"), 1, "/url"),
        (("add", "https://example.com/", "--event", "job.exploded"), 1, "'job.cancelled'"),
        (("add", "https://example.com/"), 2, "--event"),
        (("deliveries", "wh_none"), 1, "There is no webhook"),
        (("test", "wh_none"), 1, "There is no webhook"),
    ],
)
def test_what_is_wrong_is_named(run: Run, arguments: tuple[str, ...], status: int, message: str) -> None:
    done = run(*arguments)
    assert done.exit_code == status
    assert message in done.stderr
