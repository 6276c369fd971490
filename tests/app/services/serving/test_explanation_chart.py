"""The picture of an explanation: inside its frame, small whatever the input, and XML whatever the labels."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from app.services.serving.explanation_chart import MAX_COLUMNS, draw

SVG = "{http://www.w3.org/2000/svg}"


def explanation(steps: int, layers: int = 1) -> dict[str, Any]:
    rows = [[step / steps for step in range(steps)]] * layers
    return {
        "steps": [f"step {step}" for step in range(steps)],
        "influence": [1 / steps] * steps,
        "layers": [f"layer {layer + 1}" for layer in range(layers)],
        "gates": {"input": rows, "forget": rows, "candidate": rows},
        "hidden": rows,
        "memory_length": steps,
    }


@pytest.mark.parametrize("steps", [1, 2, 40, 161, 8192])
def test_all_steps_are_inside_the_frame(steps: int) -> None:
    text = draw("m version 1", explanation(steps, 4))
    root = ET.fromstring(text)  # noqa: S314 - our own
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    rects = root.findall(f"{SVG}rect")[1:]
    assert len(rects) == min(steps, MAX_COLUMNS) * (1 + 4 * 4)
    for rect in rects:
        assert 0 <= float(rect.attrib["x"]) <= width - float(rect.attrib["width"]) + 0.2
        assert 0 <= float(rect.attrib["y"]) <= height - float(rect.attrib["height"])
    assert len(text) < 1 << 20


def test_labels_are_text() -> None:
    labels = ["<b>", "&amp;", "a\x00\n\ud800b", "x" * 500]
    root = ET.fromstring(draw("<&>", explanation(4) | {"steps": labels}))  # noqa: S314 - our own
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert {"<b>", "&amp;", "a   b"} <= set(texts)
    assert max(len(text) for text in texts) < 80


def test_a_network_without_recurrence_has_bars_alone() -> None:
    picture = draw("m", explanation(3) | {"layers": [], "gates": {}, "hidden": []})
    assert len(ET.fromstring(picture).findall(f"{SVG}rect")) == 4  # noqa: S314 - our own
