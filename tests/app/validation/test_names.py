"""Unknown names: the nearest known one, and the place where a name belongs."""

import pytest

from app.validation.names import nearest_name, unknown_name

KNOWN = ["epochs", "batch_size", "learning_rate", "max_seconds"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("epoch", "epochs"),
        ("Epochs", "epochs"),
        ("batchSize", "batch_size"),
        ("learning-rate", "learning_rate"),
        ("learnig_rate", "learning_rate"),
        ("maxSeconds", "max_seconds"),
        ("colour", None),
        ("", None),
    ],
)
def test_a_name_is_recognised_however_it_is_written(name: str, nearest: str | None) -> None:
    assert nearest_name(name, KNOWN) == nearest


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hidden_size", "unknown field here: hidden_size belongs in network"),
        ("dropout", "unknown field here: dropout belongs in network or options"),
        ("epoch", "unknown field epoch; did you mean epochs?"),
        ("hiddenSize", "unknown field hiddenSize; did you mean hidden_size in network?"),
        ("colour", f"unknown field colour; there are {', '.join(KNOWN)}"),
        ("x" * 200, f"unknown field {'x' * 30}…; there are {', '.join(KNOWN)}"),
    ],
)
def test_a_sentence_says_what_to_write_instead(name: str, sentence: str) -> None:
    elsewhere = {"network": ["hidden_size", "dropout"], "options": ["dropout"]}
    assert unknown_name("field", name, KNOWN, elsewhere) == sentence


def test_one_choice_is_not_many() -> None:
    assert unknown_name("field", "x", ["only"]) == "unknown field x; there is only"
    assert unknown_name("field", "x", []) == "unknown field x"
