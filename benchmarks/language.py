"""Text and sensor sequences through the service, with default options and three seeds each.

A data set is uploaded with its own split; metrics are those of the version, on the test split alone.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

import httpx

from app.typedefs import Json
from benchmarks.report import table, write
from benchmarks.stack import checked, stack, train, upload
from tests.support.fixtures.real_data import ROOT

SEEDS = (7, 8, 9)


@dataclass(frozen=True)
class Trial:
    """One data set, and the figure to reach on it."""

    name: str
    task: str
    metric: str
    shown: str  # what the metric is called
    must: float | str
    aim: float | str
    minutes: int  # of training that it may take
    format: str = "jsonl"
    variants: dict[str, Json] = field(default_factory=lambda: {"default options": {}})

    def body(self, dataset: str, variant: str, seed: int) -> Json:
        """The job to submit."""
        own = self.variants[variant]
        training = {"seed": seed} | own.get("training", {})
        job = {"task": self.task, "dataset": dataset, "model": f"{self.name}-{seed}", "training": training}
        return job | {name: value for name, value in own.items() if name not in ("training", "must")}


SNIPPETS: dict[str, Json] = {
    "default options": {},
    "`ensemble` 5": {"training": {"ensemble": 5}, "must": "baseline"},
}
LANGUAGE_TRIALS = (
    Trial("movie_snippets", "classification", "accuracy", "accuracy", 0.77, 0.81, 10, variants=SNIPPETS),
    Trial("JapaneseVowels", "classification", "accuracy", "accuracy", 0.96, 0.98, 3),
    Trial("brown_pos", "tagging", "accuracy", "accuracy", 0.965, 0.972, 15),
    Trial("wnut16_ner", "tagging", "f1", "entity F1", 0.40, 0.48, 10),
    Trial("shakespeare", "generation", "bits_per_character", "bits per character", 2.10, 1.90, 15),
    Trial("bible_en_es", "translation", "bleu", "BLEU", "2 × baseline", 20, 20),
)


def run(http: httpx.Client, trial: Trial, seeds: Sequence[int]) -> list[list[object]]:
    """A row of the table for each variant."""
    dataset = upload(http, ROOT / trial.task / f"{trial.name}.{trial.format}", task=trial.task)
    rows: list[list[object]] = []
    for variant in trial.variants:
        figures, minutes, version = [], [], dict[str, Json]()
        for seed in seeds:
            body = trial.body(dataset, variant, seed)
            job, seconds = train(http, body)
            version = checked(http.get(f"/v1/models/{body['model']}/versions/{job['model_version']}"))
            figures.append(version["metrics"][trial.metric])
            minutes.append(seconds / 60)
            print(trial.name, variant, seed, f"{figures[-1]:.4f} in {minutes[-1]:.1f} min", flush=True)
        spread = f" ± {stdev(figures):.4f}" if len(figures) > 1 else ""
        rows.append(
            [
                f"{trial.name}, {variant}",
                trial.shown,
                f"{version['baseline'][trial.metric]:.4f}",
                f"**{mean(figures):.4f}{spread}**",
                trial.variants[variant].get("must", trial.must),
                trial.aim,
                f"{mean(minutes):.1f} ({trial.minutes})",
                f"{version['parameters']:,}",
            ]
        )
    return rows


HEAD = ["data", "metric", "baseline", "Recurra", "must reach", "aim", "minutes (allowed)", "parameters"]


def run_trials(trials: Sequence[Trial], target: str, description: str | None) -> None:
    """Run those that the command line names, and write a section for each data set."""
    names = [trial.name for trial in trials]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", nargs="*", choices=names, help="all of them if none is named")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    chosen = parser.parse_args()
    for trial in trials:
        if chosen.data and trial.name not in chosen.data:
            continue
        with stack() as http:
            rows = run(http, trial, chosen.seeds)
        text = f"## {trial.name} ({trial.task})\n\n{table(HEAD, rows)}\n\nMean and standard deviation"
        text += f" of {len(chosen.seeds)} seeds on the test split; minutes from submit to a served version."
        if tuple(chosen.seeds) == SEEDS:
            write(f"{target}-{trial.name}", f"make bench-{target} DATA={trial.name}", text)
        else:
            print(text)


if __name__ == "__main__":
    run_trials(LANGUAGE_TRIALS, "language", __doc__)
