"""Runs the demo of any task against a service, from the upload to predictions that people can judge."""

from pathlib import Path

from rich.text import Text

from app.cli.commands.train import upload
from app.cli.console import DEFAULT_URL, notes, output, print_comparison
from app.cli.demo.by_hand import commands
from app.cli.demo.render import STYLES, print_prediction
from app.cli.watch import follow_job
from app.ingest.readers import Mapping, open_source
from app.tasks.contract import Task
from app.tasks.demonstration import Demo, Question
from app.tasks.source import Faults
from app.typedefs import Json
from recurra import Client

SAMPLES = Path(__file__).parents[2] / "samples"


class DemoFailed(Exception):
    """A network was not better than the baseline although it should be, or its job did not succeed."""


def run_demo(url: str, task: Task, directory: Path) -> None:
    """Upload, train, compare and predict; `directory` is for the uploaded file. Raises `DemoFailed`."""
    demo = task.demo
    sample = SAMPLES / demo.sample
    questions = read_questions(task, sample)
    with Client(url) as client:
        dataset = upload(client, prepare_upload(demo, sample, directory), task.name, {})
        contents = demo.contents.format_map(dataset.get("summary", {}))
        output().print(f"Uploaded {demo.sample} as {dataset['id']}: {contents}", soft_wrap=True)
        jobs = [train(client, job_request(task, dataset["id"], model)) for model in demo.jobs]
        versions = []
        for job in jobs:
            versions.append(client.version(job["model"], job["model_version"]))
            print_comparison(versions[-1], against=demo.baseline)
            output().print(f"\n{job['model']} on data it was not trained on:", style="bold")
            print_answers(client, demo, job["model"], questions)
    request = job_request(task, dataset["id"], jobs[-1]["model"])
    # The demo's own service ends with it.
    for line in commands(DEFAULT_URL, sample, request, prediction_request(demo, questions[0].brief)):
        output().print(line, soft_wrap=True, markup=False)
    print_verdict(demo, versions)


def read_questions(task: Task, sample: Path) -> list[Question]:
    """The questions of a task's demo, made of its sample."""
    faults = Faults()
    return task.demo.questions(open_source(sample, sample.suffix[1:], Mapping({}), faults), faults)


def prepare_upload(demo: Demo, sample: Path, directory: Path) -> Path:
    """The file to upload: the sample, or what the demo does not hold out of it."""
    if demo.hold_out is None:
        return sample
    path = directory / demo.sample
    demo.hold_out(sample, path)
    return path


def job_request(task: Task, dataset: str, model: str) -> Json:
    """The job that trains one of the demo's models."""
    return {"task": task.name, "dataset": dataset, "model": model, **task.demo.jobs[model]}


def prediction_request(demo: Demo, instance: Json) -> Json:
    """The body that asks for one prediction, streamed where the demo shows it so."""
    parameters = demo.parameters | ({} if demo.render else {"stream": True})
    return {"instances": [instance]} | ({"parameters": parameters} if parameters else {})


def train(client: Client, request: Json) -> Json:
    """Submit a job and follow it with a progress bar; raises `DemoFailed` if it does not succeed."""
    job = client.submit(request)
    job = follow_job(client.watch(job["id"]), notes(), job["model"])
    if job["status"] != "succeeded":
        raise DemoFailed(f"{job['id']} {job['status']}: {(job.get('error') or {}).get('message', '')}")
    return job


def print_answers(client: Client, demo: Demo, model: str, questions: list[Question]) -> None:
    """Print the model's prediction for each question, as it comes where it is streamed."""
    if demo.render is None:
        for question in questions:
            prompt = Text.assemble("> ", (question.example["text"], STYLES["mark"]))
            output().print(prompt, end="", soft_wrap=True)
            for piece in client.stream(model, question.instance, demo.parameters):
                output().print(Text(piece.get("text", "")), end="", soft_wrap=True)
            output().print("\n")
        return
    answer = client.predict(model, [question.instance for question in questions], demo.parameters)
    for question, prediction in zip(questions, answer["predictions"], strict=True):
        print_prediction(demo.render(question, prediction))


def print_verdict(demo: Demo, versions: list[Json]) -> None:
    """Say which models are better than the baseline; raises `DemoFailed` for others that should be."""
    failures = []
    for version in versions:
        figures = compare(demo, version)
        if is_better(demo, version):
            sentence = f"\n{version['model']} is better than {demo.baseline}: {figures}."
            output().print(sentence, style="bold green", soft_wrap=True)
        elif demo.must_win:
            failures.append(f"{version['model']} is not better than {demo.baseline}: {figures}")
        else:
            reason = f"{demo.baseline} is hard to beat with so little data and so short a training"
            sentence = f"\n{version['model']} is not better: {figures}; {reason}."
            output().print(sentence, style="yellow", soft_wrap=True)
    if failures:
        raise DemoFailed("; ".join(failures))


def is_better(demo: Demo, version: Json) -> bool:
    """Whether a version is better than the baseline in every metric that counts."""
    pairs = [
        (version["metrics"][name], version["baseline"][name], more) for name, more in demo.metrics.items()
    ]
    return all(network > baseline if more else network < baseline for network, baseline, more in pairs)


def compare(demo: Demo, version: Json) -> str:
    """The metrics that count beside the baseline's: `smape 9.1 against 10.2, mase 0.8 against 1`."""
    metrics, baseline = version["metrics"], version["baseline"]
    return ", ".join(f"{name} {metrics[name]:.4g} against {baseline[name]:.4g}" for name in demo.metrics)
