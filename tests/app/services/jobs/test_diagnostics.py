"""Diagnostics of a job as its events tell them, and their picture."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from app.database.engine import Sessions
from app.errors import NotFound
from app.infrastructure.events.job_events import append_events
from app.services.jobs.diagnostics import job_diagnostics
from app.services.jobs.diagnostics_chart import draw
from app.typedefs import Json
from tests.app.services.jobs.test_leases import submit

SVG = "{http://www.w3.org/2000/svg}"


def entry(epoch: int, **changes: Any) -> Json:
    return {
        "epoch": epoch,
        "stage": 1,
        "gradient_by_lag": [[lag, 0.5**lag] for lag in range(40)],
        "memory_length": 4,
        "gates": {"forget": {"mean": 0.7, "saturated": 0.0}},
        "time_constants": [1.0, 2.0, 3.0],
        "spectral_norm": [1.0],
        "steps": 40,
        "verdict": "ok",
        "rule": "",
        "remedy": "",
    } | changes


def told(sessions: Sessions, *entries: Json) -> Json:
    with sessions.begin() as session:
        job_id = submit(session)
        append_events(session, job_id, [("epoch", {"epoch": 1})])
        append_events(session, job_id, [("diagnostics", one) for one in entries])
    with sessions() as session:
        return job_diagnostics(session, job_id)


def test_nothing_is_known_at_first(sessions: Sessions) -> None:
    nothing: Json = {"epochs": [], "final": [], "verdict": None, "rule": None, "remedy": None}
    assert told(sessions) == nothing
    assert "nothing has been measured yet" in draw(nothing)
    with sessions() as session, pytest.raises(NotFound):
        job_diagnostics(session, "job_none")


def test_an_epoch_that_was_repeated_counts_once_and_the_end_decides(sessions: Sessions) -> None:
    first = told(sessions, entry(1, verdict="vanishing", rule="r", remedy="m"))
    assert (first["verdict"], first["rule"], first["remedy"]) == ("vanishing", "r", "m")
    found = told(
        sessions,
        entry(1, verdict="vanishing"),
        entry(3, memory_length=1),
        entry(3, memory_length=9),
        entry(2, final=True),
        entry(2, final=True),
    )
    assert [(one["epoch"], one["memory_length"]) for one in found["epochs"]] == [(1, 4), (3, 9)]
    assert len(found["final"]) == 1
    assert found["verdict"] == "ok"
    assert not {"verdict", "rule", "remedy", "final"} & found["epochs"][0].keys()


def test_of_several_networks_the_first_that_is_not_ok_decides(sessions: Sessions) -> None:
    found = told(
        sessions, entry(5, final=True), entry(5, stage=2, member=1, final=True, verdict="exploding", rule="e")
    )
    assert (found["verdict"], found["rule"]) == ("exploding", "e")


def test_weights_from_before_a_training_went_wrong_do_not_hide_how_it_ended(sessions: Sessions) -> None:
    wrong = entry(9, verdict="vanishing", rule="late")
    found = told(sessions, entry(2), wrong, entry(2, final=True))
    assert (found["verdict"], found["rule"]) == ("vanishing", "late")


def test_the_picture_has_a_curve_for_each_entry_inside_its_frame(sessions: Sessions) -> None:
    found = told(sessions, entry(1), entry(3, gradient_by_lag=[[0, 0.0], [1, 0.0]]), entry(3, final=True))
    root = ET.fromstring(draw(found | {"rule": "a < b & c"}))  # noqa: S314 - our own
    curves = root.findall(f"{SVG}polyline")
    assert len(curves) == 3
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    points = [point.split(",") for curve in curves for point in curve.attrib["points"].split()]
    assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in points)
    assert "a < b & c" in [text.text for text in root.findall(f"{SVG}text")]
