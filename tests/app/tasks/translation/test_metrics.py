import subprocess
import sys

import pytest

from app.tasks.translation.metrics import compare


def test_the_references_themselves_are_perfect() -> None:
    lines = ["El perro ve el gato rojo.", "¿Quién oye el caballo?"]
    found = compare(lines, lines)
    assert found["bleu"] == pytest.approx(100)
    assert found["chrf"] == pytest.approx(100)
    assert found["exact_match"] == found["length_ratio"] == 1


def test_it_is_the_bleu_of_papineni() -> None:
    # 5 of 6, 3 of 5, 1 of 4 n-grams and none of 3, which counts as a half (sacrebleu's exponential smoothing)
    found = compare(["the cat sat on the mat"], ["the cat is on the mat"])
    assert found["bleu"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25, abs=1e-3)
    assert found["exact_match"] == 0


def test_case_counts_and_spaces_before_signs_do_not() -> None:
    reference = ["El perro ve el gato rojo."]
    assert compare(["El perro ve el gato rojo ."], reference)["bleu"] == pytest.approx(100)
    assert compare(["el Perro ve el Gato rojo."], reference)["bleu"] < 50


def test_too_short_translations_are_told() -> None:
    found = compare(["El perro"], ["El perro ve el"])
    assert found["length_ratio"] == 0.5


def test_empty_translations_are_scored() -> None:
    found = compare(["", ""], ["El perro", "ve"])
    assert found["bleu"] == found["chrf"] == found["length_ratio"] == 0


def test_how_it_was_measured_is_told() -> None:
    found = compare(["a"], ["a"])
    assert "tok:13a" in found["bleu_signature"]
    assert "case:mixed" in found["bleu_signature"]
    assert "nc:6" in found["chrf_signature"]


LONE = """
import sys
import app.tasks.translation.task
assert "sacrebleu" not in sys.modules and "tokenizers" not in sys.modules
from app.tasks.translation.metrics import compare
assert compare(["a b c d ."] * 200, ["a b c d ."] * 200)["bleu"] > 99
"""


def test_nothing_is_loaded_before_and_nothing_complains() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LONE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
