"""Write down what is said: train on prompts of a telephone system in Russian, then listen to some others."""

import base64
import json
import zipfile

from service import SAMPLES, Service, parse_epochs

SAMPLE, RECORDINGS = "speech_russian_prompts.zip", 3


def main() -> None:
    """Train, compare with the best constant answer, and transcribe."""
    epochs, service = parse_epochs(60), Service()
    version = service.train(
        task="speech",
        dataset=service.upload("speech", SAMPLE),
        model="prompts",
        training={"epochs": epochs},
    )
    ours, constant = version["metrics"]["cer"], version["baseline"]["cer"]
    print(f"Character error rate on held-out prompts: {ours:.1f} %, best constant answer {constant:.1f} %")
    with zipfile.ZipFile(SAMPLES / SAMPLE) as archive:
        lines = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
        chosen = [line for line in lines if line["split"] == "test"][:RECORDINGS]
        recordings = [base64.b64encode(archive.read(line["audio"])).decode() for line in chosen]
    predictions = service.predict(version, *({"audio_base64": recording} for recording in recordings))
    for line, prediction in zip(chosen, predictions, strict=True):
        print(f"  {prediction['duration_seconds']:.1f} s  {prediction['text']!r}  ({line['text']})")


if __name__ == "__main__":
    main()
