"""Translate verses: train on English and Spanish ones, then translate some. With so few, expect mistakes."""

from service import Service, parse_epochs

SENTENCES = ("Jesus wept.", "God said to Moses.", "Don't be afraid.")


def main() -> None:
    """Train, compare with a dictionary, and translate."""
    epochs, service = parse_epochs(4), Service()
    version = service.train(
        task="translation",
        dataset=service.upload("translation", "bible_en_es.jsonl"),
        model="spanish",
        network={"hidden_size": 128},
        training={"epochs": epochs},
    )
    ours, dictionary = version["metrics"]["bleu"], version["baseline"]["bleu"]
    print(f"BLEU of held-out verses: {ours:.1f}, word-by-word dictionary {dictionary:.1f}")
    predictions = service.predict(version, *({"text": text} for text in SENTENCES), beam_size=5)
    for text, prediction in zip(SENTENCES, predictions, strict=True):
        print(f"  {text}  →  {prediction['text']}")


if __name__ == "__main__":
    main()
