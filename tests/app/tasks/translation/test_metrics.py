import subprocess
import sys

import pytest

from app.tasks.translation.metrics import score_translations


def test_the_references_themselves_are_perfect() -> None:
    lines = ["El perro ve el gato rojo.", "¿Quién oye el caballo?"]
    scores = score_translations(lines, lines)
    assert scores["bleu"] == pytest.approx(100)
    assert scores["chrf"] == pytest.approx(100)
    assert scores["exact_match"] == scores["length_ratio"] == 1


def test_it_is_the_bleu_of_papineni() -> None:
    # 5 of 6, 3 of 5, 1 of 4 n-grams and none of 3, which counts as a half (sacrebleu's exponential smoothing)
    scores = score_translations(["the cat sat on the mat"], ["the cat is on the mat"])
    assert scores["bleu"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25, abs=1e-3)
    assert scores["exact_match"] == 0


def test_case_counts_and_spaces_before_signs_do_not() -> None:
    reference = ["El perro ve el gato rojo."]
    assert score_translations(["El perro ve el gato rojo ."], reference)["bleu"] == pytest.approx(100)
    assert score_translations(["el Perro ve el Gato rojo."], reference)["bleu"] < 50


def test_too_short_translations_are_reported() -> None:
    scores = score_translations(["El perro"], ["El perro ve el"])
    assert scores["length_ratio"] == 0.5


def test_empty_translations_are_scored() -> None:
    scores = score_translations(["", ""], ["El perro", "ve"])
    assert scores["bleu"] == scores["chrf"] == scores["length_ratio"] == 0


def test_signatures_say_how_scores_are_computed() -> None:
    scores = score_translations(["a"], ["a"])
    assert scores["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert scores["chrf_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")


LONE = """
import sys
import app.tasks.translation.task
assert "sacrebleu" not in sys.modules and "tokenizers" not in sys.modules
from app.tasks.translation.metrics import score_translations
assert score_translations(["a b c d ."] * 200, ["a b c d ."] * 200)["bleu"] > 99
"""


def test_nothing_is_loaded_before_and_nothing_complains() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LONE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
