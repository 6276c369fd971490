"""Write like Shakespeare: train a language model on three plays, then let it continue a line."""

from service import Service, parse_epochs

PROMPT = "My lord, "


def main() -> None:
    """Train, compare with a 5-gram model, and continue a prompt."""
    epochs, service = parse_epochs(4), Service()
    version = service.train(
        task="generation",
        dataset=service.upload("generation", "shakespeare.jsonl"),
        model="bard",
        network={"cell": "gru", "hidden_size": 192},
        training={"epochs": epochs},
    )
    ours, counted = version["metrics"]["bits_per_character"], version["baseline"]["bits_per_character"]
    print(f"Bits per character of held-out scenes: {ours:.2f}, 5-gram model {counted:.2f}")
    (answer,) = service.predict(version, {"prompt": PROMPT}, max_tokens=120, temperature=0.7, seed=7)
    print(PROMPT + answer["text"])


if __name__ == "__main__":
    main()
