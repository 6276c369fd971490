"""Recurra and other servers in turn, with the same networks, bodies, cores and load generator."""

import argparse
from pathlib import Path

from benchmarks.serving import media, numeric, predictions, text
from benchmarks.serving.contestants import CONTESTANTS, PEERS
from benchmarks.serving.settings import CLIENTS, Asked

NAMES = [one.name for one in CONTESTANTS]
PARTS = {"predictions": predictions.run, "numeric": numeric.run, "text": text.run, "media": media.run}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a cell, after a second of warm-up")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="all by default")
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=NAMES, help="text, media: recurra, fastapi"
    )
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS)
    parser.add_argument("--python", type=Path, default=PEERS, help="the peers' interpreter")
    parser.add_argument("--data", nargs="+", choices=predictions.SUBJECTS, default=[], help="of predictions")
    parser.add_argument("--quick", action="store_true", help="one round of one-second cells")
    return parser.parse_args()


def main() -> None:
    """Run the parts, and write their sections; a partial run only prints."""
    provided = arguments()
    whole = provided.only == NAMES and tuple(provided.clients) == CLIENTS and not provided.quick
    rounds, seconds, idle = (1, 1.0, 1.0) if provided.quick else (provided.rounds, provided.seconds, 5.0)
    requested = Asked(
        provided.only, provided.python, provided.clients, rounds, seconds, idle, whole, provided.data
    )
    for part in provided.part:
        PARTS[part](requested)


if __name__ == "__main__":
    main()
