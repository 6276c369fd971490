"""Name what people do: train on clips of a depth camera, then ask about some that were held out."""

import base64
import json
import zipfile

from service import SAMPLES, Service, parse_epochs

SAMPLE = "video_actions_depth.zip"


def held_out(count: int) -> list[tuple[str, str]]:
    """Some clips of the test split as base64, each with its label."""
    with zipfile.ZipFile(SAMPLES / SAMPLE) as archive:
        lines = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
        lines = [line for line in lines if line["split"] == "test"]
        chosen = lines[:: len(lines) // count][:count]
        return [(base64.b64encode(archive.read(line["video"])).decode(), line["label"]) for line in chosen]


def main() -> None:
    """Train, compare with the network that does not know the order of frames, and classify."""
    epochs, service = parse_epochs(30), Service()
    version = service.train(
        task="video",
        dataset=service.upload("video", SAMPLE),
        model="actions",
        training={"epochs": epochs},
    )
    ours, average = version["metrics"]["accuracy"], version["baseline"]["accuracy"]
    print(f"Accuracy on held-out clips: {ours:.3f}, frame average {average:.3f}")
    clips = held_out(5)
    predictions = service.predict(version, *({"video_base64": clip} for clip, _ in clips))
    for (_, label), prediction in zip(clips, predictions, strict=True):
        likely = prediction["label"]
        print(f"  {likely:<10}  {prediction['scores'][likely]:4.0%}  (it is {label})")


if __name__ == "__main__":
    main()
