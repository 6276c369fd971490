"""The groups of operations, in the order in which a client needs them."""

from app.typedefs import Json

TAGS = {
    "tasks": "What can be learned: the options of each task, and the shapes of its data and predictions.",
    "datasets": "Upload files, and see how they were understood.",
    "jobs": "Train, and follow what a job does: progress, events, log, learning curves, diagnostics.",
    "sweeps": "Search settings by many trainings; the best becomes a version.",
    "models": "Trained versions, their metrics and files, and the aliases that answer.",
    "predictions": "Ask a model, also while it answers, and why it answers so.",
    "batch predictions": "Predict whole data sets as jobs.",
    "evaluations": "Compare versions and baselines on data that have the answers.",
    "webhooks": "Have events of jobs and models sent to a URL.",
    "keys": "Who may do what, and who did.",
    "service": "Health, readiness, metrics, and the workers.",
    "openai": "Another protocol: that of OpenAI's clients, for generated text, files and fine-tunings.",
    "nixtla": "Another protocol: that of the client of TimeGPT, for forecasts.",
    "open inference protocol": "Another protocol: the Open Inference Protocol, version 2 (KServe, Triton).",
}


def order_by_tags(paths: Json, first: frozenset[str]) -> Json:
    """The paths of a document in the order of their groups, in each those of `first` at the beginning."""
    order = {tag: number for number, tag in enumerate(TAGS)}

    def key(path: str) -> tuple[int, bool]:
        tags = [tag for operation in paths[path].values() for tag in operation.get("tags", ())]
        return min((order.get(tag, len(order)) for tag in tags), default=len(order)), path not in first

    return {path: paths[path] for path in sorted(paths, key=key)}


def described_tags() -> list[Json]:
    """The groups for the document, in order."""
    return [{"name": name, "description": description} for name, description in TAGS.items()]
