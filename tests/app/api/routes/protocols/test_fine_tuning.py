"""OpenAI's files and fine-tunings, by OpenAI's own client; a test plays the worker."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from app.services.jobs.leases import Lease
from tests.support.fixtures.service import Service

LINES = "\n".join(
    json.dumps({"text": f"The king number {n} said: long live the queen, and so on."}) for n in range(60)
)


@pytest.fixture(scope="module")
def openai() -> Any:
    """The client's package, imported only where it is used: it is large."""
    return import_module("openai")


def url_of(service: Service) -> str:
    return f"{str(service.http.base_url).rstrip('/')}/openai/v1"


@pytest.fixture
def client(openai: Any, on_sqlite: Service) -> Iterator[Any]:
    with openai.OpenAI(base_url=url_of(on_sqlite), api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def refused_client(openai: Any, untouched: Service) -> Iterator[Any]:
    """Of a service that nothing is submitted to."""
    with openai.OpenAI(base_url=url_of(untouched), api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def file_id(refused_client: Any) -> str:
    return str(uploaded(refused_client).id)


def uploaded(client: Any, content: str = LINES, **body: str) -> Any:
    return client.files.create(file=("kings.jsonl", content.encode()), purpose="fine-tune", extra_body=body)


def finish(running: Service, job_id: str, directory: Path) -> None:
    lease: Lease = running.claim(job_id)
    progress = {"fraction": 0.5, "step": 40, "steps": 80, "eta_seconds": 3.0}
    epoch = {"epoch": 1, "train_loss": 2.5, "valid_loss": 2.25}
    running.tell(lease, progress=progress, events=[("epoch", epoch), ("warning", {"message": "so short"})])
    running.finish(lease, directory)


def test_a_file_is_a_data_set(openai: Any, on_sqlite: Service, client: Any) -> None:
    file = uploaded(client)
    assert (file.object, file.purpose, file.filename, file.status) == (
        "file", "fine-tune", "kings.jsonl", "processed",
    )  # fmt: skip
    assert file.bytes == len(LINES)
    dataset = on_sqlite.http.get(f"/v1/datasets/{file.id}").json()
    assert (dataset["task"], dataset["summary"]["trainable"]) == ("generation", True)
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).text == LINES
    second = uploaded(client, LINES + "\n" + LINES)
    assert [one.id for one in client.files.list()] == [second.id, file.id]
    assert [one.id for one in client.files.list(limit=1)] == [second.id, file.id]  # in two pages
    assert list(client.files.list(purpose="batch")) == []
    assert client.files.delete(second.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(second.id)


BAD_FILES = {
    "a chat": ('{"messages": [{"role": "user", "content": "hi"}]}', "a chat"),
    "a prompt": ('{"prompt": "2 + 2 =", "completion": " 4"}', '{"text": "…"}'),
    "another field": ('{"body": "x"}', "body"),
    "no JSON": ("{", "JSON"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_lines_that_are_no_examples_are_refused(openai: Any, refused_client: Any, case: str) -> None:
    line, text = BAD_FILES[case]
    with pytest.raises(openai.BadRequestError) as refused:
        uploaded(refused_client, f"{line}\n" * 20)
    assert text in refused.value.message
    assert refused.value.param == "file"


def test_other_files_are_refused(openai: Any, client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert refused.value.param == "purpose"
    with pytest.raises(openai.BadRequestError) as refused:
        uploaded(client, expires="never")
    assert refused.value.param == "expires"


def test_a_fine_tuning_is_a_training_job(on_sqlite: Service, client: Any, tmp_path: Path) -> None:
    file = uploaded(client)
    job = client.fine_tuning.jobs.create(
        model="gru",
        training_file=file.id,
        suffix="poet",
        seed=3,
        method={
            "type": "supervised",
            "supervised": {
                "hyperparameters": {"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 0.5}
            },
        },
        metadata={"team": "kings", "network.hidden_size": "48", "options.tokens": "word"},
    )
    assert (job.object, job.status, job.fine_tuned_model, job.model) == (
        "fine_tuning.job", "queued", None, "gru",
    )  # fmt: skip
    assert (job.training_file, job.seed, job.metadata["team"]) == (file.id, 3, "kings")
    assert job.hyperparameters.n_epochs == 4
    own = on_sqlite.http.get(f"/v1/jobs/{job.id}").json()
    assert (own["task"], own["model"], own["network"]["hidden_size"]) == ("generation", "poet", 48)
    assert (own["options"]["tokens"], own["training"]["epochs"], own["training"]["batch_size"]) == (
        "word",
        4,
        8,
    )
    other = client.fine_tuning.jobs.create(model="gru", training_file=file.id, suffix="bard")
    usual = on_sqlite.http.get(f"/v1/jobs/{other.id}").json()["training"]["learning_rate"]
    assert own["training"]["learning_rate"] == pytest.approx(usual / 2)

    finish(on_sqlite, job.id, tmp_path / "one")
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.fine_tuned_model) == ("succeeded", "poet:1")
    assert done.finished_at >= done.created_at
    assert client.models.retrieve("poet:1").id == "poet:1"
    assert [one.id for one in client.fine_tuning.jobs.list(limit=1)] == [other.id, job.id]
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert checkpoint.fine_tuned_model_checkpoint == "poet:1"
    assert (checkpoint.step_number, checkpoint.metrics.valid_loss) == (40, 2.25)


def test_events_come_newest_first(on_sqlite: Service, client: Any, tmp_path: Path) -> None:
    job = client.fine_tuning.jobs.create(model="lstm", training_file=uploaded(client).id)
    finish(on_sqlite, job.id, tmp_path / "one")
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=2))
    assert events[0].message == "The job is succeeded"
    assert events[-1].message == "The job is queued"
    (epoch,) = [one for one in events if one.type == "metrics"]
    assert (epoch.message, epoch.data["valid_loss"]) == ("Epoch 1: train_loss 2.5, valid_loss 2.25", 2.25)
    assert [one.level for one in events if one.message == "so short"] == ["warn"]
    assert len({one.id for one in events}) == len(events) == 5


def test_jobs_are_paused_resumed_and_cancelled(openai: Any, client: Any) -> None:
    job = client.fine_tuning.jobs.create(model="rnn", training_file=uploaded(client).id, suffix="x")
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(openai.ConflictError):
        client.fine_tuning.jobs.pause(job.id)
    assert list(client.fine_tuning.jobs.checkpoints.list(job.id)) == []


def test_a_model_by_name_gets_another_version(on_sqlite: Service, client: Any, tmp_path: Path) -> None:
    file = uploaded(client)
    first = client.fine_tuning.jobs.create(model="lstm", training_file=file.id)
    finish(on_sqlite, first.id, tmp_path / "one")
    name = client.fine_tuning.jobs.retrieve(first.id).fine_tuned_model
    assert name == f"lstm-{file.id}:1"
    again = client.fine_tuning.jobs.create(model=name.partition(":")[0], training_file=file.id)
    finish(on_sqlite, again.id, tmp_path / "two")
    assert client.fine_tuning.jobs.retrieve(again.id).fine_tuned_model == f"lstm-{file.id}:2"


@pytest.mark.parametrize("name", ["gpt-4", "ft:gpt-4o-mini:acme"])
def test_a_model_that_there_is_not_is_refused(
    openai: Any, refused_client: Any, file_id: str, name: str
) -> None:
    with pytest.raises(openai.BadRequestError, match="is no model here") as refused:
        refused_client.fine_tuning.jobs.create(model=name, training_file=file_id, suffix="mine")
    assert refused.value.param == "model"
    assert list(refused_client.fine_tuning.jobs.list()) == []


BAD_JOBS: dict[str, tuple[dict[str, Any], str]] = {
    "a file for validation": ({"validation_file": "ds_1"}, "validation_file"),
    "another method": ({"method": {"type": "dpo"}}, "method"),
    "an odd name": ({"suffix": "a b"}, "suffix"),
    "an unknown setting": ({"metadata": {"network.colour": "red"}}, "metadata"),
    "a setting out of range": ({"metadata": {"network.layers": "99"}}, "metadata"),
    "an unknown field": ({"extra_body": {"colour": "red"}}, "colour"),
    "an integration": ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
    "no epochs": ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters"),
}


@pytest.mark.parametrize("case", BAD_JOBS)
def test_what_cannot_be_trained_is_refused_at_once(
    openai: Any, refused_client: Any, file_id: str, case: str
) -> None:
    fields, parameter = BAD_JOBS[case]
    with pytest.raises(openai.BadRequestError) as refused:
        refused_client.fine_tuning.jobs.create(model="lstm", training_file=file_id, **fields)
    assert refused.value.param == parameter
    assert list(refused_client.fine_tuning.jobs.list()) == []


def test_unknown_files_and_jobs(openai: Any, client: Any) -> None:
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(model="lstm", training_file="ds_none")
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.retrieve("job_none")


def test_a_request_with_a_key_is_submitted_once(client: Any) -> None:
    file = uploaded(client)
    headers = {"Idempotency-Key": "one"}
    jobs = [
        client.fine_tuning.jobs.create(model="lstm", training_file=file.id, extra_headers=headers)
        for _ in range(2)
    ]
    assert jobs[0].id == jobs[1].id
    assert len(list(client.fine_tuning.jobs.list())) == 1
