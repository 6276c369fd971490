"""Tell praise from blame: train on sentences of film reviews, then ask about some others."""

from service import Service, parse_epochs

SENTENCES = ("A gorgeous, witty, seductive movie.", "A dull, lifeless mess.", "It has its moments.")


def main() -> None:
    """Train, compare with naive Bayes, and classify."""
    epochs, service = parse_epochs(5), Service()
    version = service.train(
        task="classification",
        dataset=service.upload("classification", "movie_snippets.jsonl"),
        model="mood",
        training={"epochs": epochs},
    )
    ours, bayes = version["metrics"]["accuracy"], version["baseline"]["accuracy"]
    print(f"Accuracy on held-out sentences: {ours:.3f}, naive Bayes {bayes:.3f}")
    predictions = service.predict(version, *({"text": text} for text in SENTENCES))
    for text, prediction in zip(SENTENCES, predictions, strict=True):
        label = prediction["label"]
        print(f"  {label}  {prediction['scores'][label]:4.0%}  {text}")


if __name__ == "__main__":
    main()
