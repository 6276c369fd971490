"""What notebooks and consoles show of models, versions, jobs and data sets: no markup of others."""

import re
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import polars as pl
import pytest

from recurra.errors import InvalidInput
from recurra.html import cell_text, line_chart
from recurra.objects.curves import Curves
from recurra.objects.evaluation import Evaluation
from recurra.records import DatasetRecord, JobRecord, Listing, ModelRecord, VersionRecord

EVIL = "<script>alert('x')</script>&\"<img src=x onerror=y>"
TAGS = {"div", "b", "table", "thead", "tbody", "tr", "th", "td", "progress", "svg", "polyline", "span", "br"}
JOB = {
    "id": EVIL, "kind": EVIL, "status": "running", "task": EVIL, "model": EVIL, "dataset": EVIL,
    "model_version": None, "error": {"code": EVIL, "message": EVIL}, "created_at": EVIL,
    "progress": {"fraction": 0.4, "epoch": 2, "epochs": EVIL}, "metrics": {EVIL: 0.5, "valid_loss": 0.125},
}  # fmt: skip
FIGURE = {"value": 1.5, "low": 1.0, "high": 2.0}
EVALUATED = JOB | {
    "metrics": {"examples": 12, "versions": {"2": {EVIL: FIGURE}}, "baselines": {EVIL: {EVIL: FIGURE}},
                "differences": []}
}  # fmt: skip
VERSION = {
    "model": EVIL, "version": 3, "task": EVIL, "job": "job_1", "dataset": "ds_1", "network": {"cell": EVIL},
    "options": {}, "metrics": {EVIL: 0.5, "types": {}}, "baseline": {EVIL: 0.25},
    "created_at": "2026-01-31T09:30:00Z",
}  # fmt: skip
DATASET = {"id": EVIL, "name": EVIL, "task": EVIL, "bytes": 1234, "summary": {EVIL: EVIL}, "warnings": [EVIL]}
MODEL = {"name": EVIL, "task": EVIL, "aliases": {EVIL: 2}, "latest_version": 2}
EPOCHS: list[dict[str, Any]] = [
    {"epoch": 1, "train_loss": 2.0, "valid_loss": None},
    {"epoch": 2, "train_loss": 1.0, "valid_loss": 1.5},
]


class Tags(HTMLParser):
    """The tags and the text of a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags, self.text = set[str](), ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "shown",
    [
        JobRecord(JOB), VersionRecord(VERSION), DatasetRecord(DATASET), ModelRecord(MODEL, None),
        Evaluation(JobRecord(EVALUATED)),
    ],
    ids=lambda shown: type(shown).__name__,
)  # fmt: skip
def test_what_a_notebook_shows_is_escaped(shown: Any) -> None:
    document = Tags(shown._repr_html_())
    assert document.tags <= TAGS
    assert EVIL in document.text
    assert repr(shown).startswith("<")


def test_plain_texts_say_what_matters() -> None:
    plain = {key: value for key, value in JOB.items() if value != EVIL}
    job = plain | {
        "id": "job_1",
        "task": "forecasting",
        "kind": "train",
        "model": "sales",
        "progress": {"epoch": 2, "epochs": 9},
    }
    assert repr(JobRecord(job)) == "<Job job_1: train of sales, epoch 2/9, loss 0.125>"
    version = VERSION | {"model": "sales", "metrics": {"smape": 9.03}, "baseline": {"smape": 12.0}}
    assert repr(VersionRecord(version)) == "<Version 3 of sales: smape 9.03>"
    assert VersionRecord(version).comparison() == [("smape", 9.03, 12.0)]
    model = {"name": "sales", "task": "forecasting", "aliases": {}, "latest_version": 2}
    assert repr(ModelRecord(model, 2)) == "<Model sales: forecasting, answers with version 2>"
    assert repr(ModelRecord(model, None)) == "<Model sales: forecasting, answers with production>"
    assert "9.03" in Tags(VersionRecord(version)._repr_html_()).text


def test_which_version_answers() -> None:
    fresh, there = ModelRecord(MODEL, 3), ModelRecord(MODEL, None)
    assert (fresh.which(None, None), there.which(None, None)) == ({"version": 3}, {})
    assert (fresh.which(2, None), fresh.which(None, "canary")) == ({"version": 2}, {"alias": "canary"})
    assert fresh.alias_target(None, None, None, None) == {"version": 3}
    assert there.alias_target(1, None, 2, {"metric": "smape"}) == {
        "version": 1, "shadow": 2, "guard": {"metric": "smape"},
    }  # fmt: skip
    assert there.alias_target(None, {3: 0.9, 4: 0.1}, None, None) == {"versions": {"3": 0.9, "4": 0.1}}
    with pytest.raises(InvalidInput, match="name a version"):
        there.alias_target(None, None, None, None)


def test_curves_are_a_sequence_a_frame_and_a_picture() -> None:
    curves = Curves(EPOCHS)
    assert (len(curves), curves[1]["epoch"], [epoch["epoch"] for epoch in curves[1:]]) == (2, 2, [2])
    assert isinstance(curves.to_pandas(), pd.DataFrame)
    assert isinstance(curves.to_polars(), pl.DataFrame)
    assert repr(curves) == "<Curves of 2 epochs: train_loss 1, valid_loss 1.5>"
    drawing = curves._repr_html_()
    assert Tags(drawing).tags <= TAGS
    assert [len(points.split()) for points in re.findall("points='([^']*)'", drawing)] == [2, 1]
    assert "nothing yet" in Curves([])._repr_html_()
    assert repr(Curves([])) == "<Curves of 0 epochs>"


def test_each_stage_of_a_training_has_curves_of_its_own() -> None:
    stages = [
        {"phase": "fit", "stage": 1, "member": 0}, {"phase": "fit", "stage": 2, "member": 1},
        {"phase": "refit", "stage": 3, "member": 0},
    ]  # fmt: skip
    curves = Curves(
        [{"epoch": epoch, "train_loss": 1 / epoch, **stage} for stage in stages for epoch in (1, 2, 3)]
    )
    assert {name: [epoch["stage"] for epoch in own] for name, own in curves.stages().items()} == {
        "network 1": [1] * 3, "network 2": [2] * 3, "refit of network 1": [3] * 3,
    }  # fmt: skip
    drawing = curves._repr_html_()
    assert [len(points.split()) for points in re.findall("points='([^']*)'", drawing)] == [3, 3, 3]
    assert "refit of network 1: train_loss" in Tags(drawing).text
    assert repr(curves) == "<Curves of 9 epochs in 3 stages: train_loss 0.3333>"


def test_a_refit_is_a_line_beside_the_fit() -> None:
    fit = [{"epoch": epoch, "train_loss": 0.5, "valid_loss": 0.6, "phase": "fit"} for epoch in (1, 2)]
    refit = [{"epoch": epoch, "train_loss": 0.4, "phase": "refit"} for epoch in (1, 2)]
    drawing = Curves(fit + refit)._repr_html_()
    assert re.findall(r"<span[^>]*>([^<]*)</span>", drawing) == [
        "train_loss", "valid_loss", "refit: train_loss",
    ]  # fmt: skip
    assert "2 epochs" in drawing
    assert Tags(line_chart(EVIL, {EVIL: [1.0, 1.0]})).tags <= TAGS


def test_cells_are_short() -> None:
    assert [cell_text(value) for value in (None, 1.23456, 3, "a")] == ["", "1.235", "3", "a"]
    long = DatasetRecord(DATASET | {"summary": {"labels": list(range(1000))}})
    assert len(long._repr_html_()) < 2000


@pytest.mark.parametrize(
    "record", [JobRecord(JOB), VersionRecord(VERSION), DatasetRecord(DATASET), ModelRecord(MODEL, None)]
)
def test_a_list_is_a_table_without_markup_of_others(record: Any) -> None:
    listing = Listing([record, record])
    document = Tags(listing._repr_html_())
    assert document.tags <= TAGS
    assert "2 listed" in document.text
    assert document.text.count(EVIL) >= 2
    assert listing == [record, record]
    assert Tags(Listing[JobRecord]()._repr_html_()).text == "0 listed"
