"""Compose like Bach: train a language model on chorales, then let it write a piece."""

import base64
import tempfile
from pathlib import Path

from service import Service, parse_epochs

OUTPUT = Path(tempfile.gettempdir(), "chorale.mid")


def main() -> None:
    """Train, compare with a 5-gram model, and write a piece as a MIDI file."""
    epochs, service = parse_epochs(30), Service()
    version = service.train(
        task="music",
        dataset=service.upload("music", "bach_chorales.zip"),
        model="bach",
        network={"hidden_size": 160},
        training={"epochs": epochs, "batch_size": 8},
    )
    ours, counted = version["metrics"]["nats_per_step"], version["baseline"]["nats_per_step"]
    print(f"Nats per time step of held-out chorales: {ours:.2f}, 5-gram model {counted:.2f}")
    (answer,) = service.predict(version, {}, seconds=20, temperature=0.8, seed=7)
    OUTPUT.write_bytes(base64.b64decode(answer["midi_base64"]))
    facts = answer["statistics"]
    print(f"{facts['notes']} notes in {facts['key']} are in {OUTPUT}")


if __name__ == "__main__":
    main()
