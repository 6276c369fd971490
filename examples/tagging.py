"""Find names in texts: train on tweets in which entities are marked, then mark those of some sentences."""

from service import Service, parse_epochs

SENTENCES = ("Justin Bieber plays in New York tonight", "Ann flew to Paris with Air France.")


def main() -> None:
    """Train, compare with the most frequent tag of each word, and tag."""
    epochs, service = parse_epochs(12), Service()
    version = service.train(
        task="tagging",
        dataset=service.upload("tagging", "wnut16_ner.jsonl"),
        model="names",
        training={"epochs": epochs},
    )
    ours, frequent = version["metrics"]["f1"], version["baseline"]["f1"]
    print(f"F1 of entities in held-out tweets: {ours:.3f}, most frequent tags {frequent:.3f}")
    predictions = service.predict(version, *({"text": text} for text in SENTENCES))
    for text, prediction in zip(SENTENCES, predictions, strict=True):
        print(f"  {text}")
        for entity in prediction["entities"]:
            print(f"    {entity['text']}: {entity['type']}, characters {entity['start']} to {entity['end']}")
        if not prediction["entities"]:
            print("    nothing found")


if __name__ == "__main__":
    main()
