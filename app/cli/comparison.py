"""The metrics of an evaluation as tables."""

from app.cli.console import notes, print_table
from app.typedefs import Json
from recurra.objects.evaluation import describe_figure


def print_evaluation(job: Json) -> None:
    """Print each metric of each version and baseline with its interval, and the paired differences."""
    metrics = job["metrics"]
    figures = {f"version {name}": own for name, own in metrics["versions"].items()} | metrics["baselines"]
    names = list(dict.fromkeys(metric for own in figures.values() for metric in own))
    print_table(
        ["metric", *figures],
        [(name, *(describe_figure(own.get(name)) for own in figures.values())) for name in names],
        title=f"{job['model']} on {job['dataset']}: {metrics['examples']:,} examples",
    )
    compared = [name for name in names if name in metrics["higher_is_better"]]
    print_table(
        ["difference", *compared],
        [
            (
                f"{one['of']} - {one['minus']}",
                *(describe_figure(one["metrics"].get(name)) for name in compared),
            )
            for one in metrics["differences"]
        ],
    )
    if metrics["failed"]:
        notes().print(f"{metrics['failed']:,} examples could not be predicted and do not count")
