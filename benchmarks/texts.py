"""Small text sets of several kinds: naive Bayes, the network alone, and what a job trains by default.

Each is trained in this process with default options. Nothing was selected by its test texts, see
`benchmarks.text_sets`. "Network alone" is the same network without its n-grams.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from app.arrays import Array
from app.hyperparameters.options import NETWORK, TRAINING
from app.ingest.readers import Mapping, open_source
from app.tasks.classification.options import ClassificationOptions
from app.tasks.classification.task import TASK
from app.tasks.contract import Plan
from app.tasks.source import Faults
from app.typedefs import Json
from benchmarks.report import table, write
from benchmarks.text_sets import TEXT_SETS, TextSet
from workers.artifact.export import load_model
from workers.nn import Network
from workers.training.evaluate import outputs_of
from workers.training.run import train
from workers.training.stages import TrainSpec

CPU = torch.device("cpu")
BATCH = 64
HEAD = ["texts", "for training", "labels", "language", "naive Bayes", "network alone", "both", "±"]


@dataclass(frozen=True)
class Scores:
    """Accuracies on the test texts, and how many labels there are."""

    bayes: float
    alone: float
    both: float
    tested: int
    labels: int

    @property
    def error(self) -> float:
        """The standard error of an accuracy such as that of naive Bayes."""
        return float(np.sqrt(self.bayes * (1 - self.bayes) / self.tested))


def measure(rows: list[Json], seed: int) -> Scores:
    """Train a job that sets nothing but the seed."""
    with tempfile.TemporaryDirectory() as name:
        directory, faults = Path(name), Faults()
        (directory / "content").write_text("\n".join(map(json.dumps, rows)))
        source = open_source(directory / "content", "jsonl", Mapping.checked({}, ()), faults)
        reading = TASK.read(source, faults)
        np.savez(directory / "arrays.npz", allow_pickle=False, **reading.arrays)
        options: Json = ClassificationOptions().model_dump(mode="json")
        defaults = TASK.defaults(reading.summary, ClassificationOptions())
        training = TRAINING | defaults.training | {"device": "cpu", "seed": seed}
        spec = TrainSpec(TASK.name, NETWORK | defaults.network, training, options)
        out = directory / "out"
        result = train(spec, directory, out, on=lambda _: None, should_stop=lambda: False)
        plan = TASK.plan(reading.arrays, ClassificationOptions.model_validate(options), seed)
        alone = _accuracy_alone(load_model(out, CPU), plan)
    figures = result.baseline["accuracy"], alone, result.metrics["accuracy"]
    return Scores(*figures, len(plan.test.lengths), plan.outputs)


def _accuracy_alone(network: Network, plan: Plan) -> float:
    """The accuracy on the test texts without n-grams."""
    for name, buffer in network.named_buffers():
        if name.endswith("ngrams.weight"):
            buffer.zero_()
    with torch.no_grad():
        predicted: Array = np.stack(outputs_of(network, plan.test, BATCH, CPU)).argmax(axis=1)
    expected = plan.test.batch(np.arange(len(predicted)), None).targets
    return float((predicted == expected).mean())


def row_of(one: TextSet, seed: int) -> list[object]:
    """A row of the table."""
    scores = measure(one.rows(seed), seed)
    print(one.name, scores, flush=True)
    figures = [f"{value:.4f}" for value in (scores.bayes, scores.alone)]
    both, error = f"**{scores.both:.4f}**", f"{scores.error:.4f}"
    return [one.name, f"{one.size:,}", scores.labels, one.language, *figures, both, error]


def main() -> None:
    """Measure the sets that the command line names, all by default, and write a section of RESULTS.md."""
    names = [one.name for one in TEXT_SETS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", choices=names, help="all of them if none is named")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row_of(one, chosen.seed) for one in TEXT_SETS if not chosen.data or one.name in chosen.data]
    text = (
        f"## Small text sets (classification)\n\n{table(HEAD, rows)}\n\nAccuracy on test texts that nothing"
    )
    text += f" was selected by, seed {chosen.seed}; ± is the standard error of the accuracy of naive Bayes."
    if chosen.data:
        print(text)
    else:
        write("texts", "make bench-texts", text)


if __name__ == "__main__":
    main()
