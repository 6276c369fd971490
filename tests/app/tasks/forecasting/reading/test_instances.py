"""A long table becomes instances as training reads it."""

from pathlib import Path

import pytest

from app.errors import DatasetInvalid
from app.ingest.readers import Mapping, open_source
from app.tasks.forecasting.reading.instances import read_instances
from app.tasks.source import Faults
from app.typedefs import Json

COLUMNS = ("unique_id", "ds", "y", "split")


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def from_csv(path: Path, columns: dict[str, str]) -> list[Json]:
    faults = Faults()
    return read_instances(open_source(path, "csv", Mapping.checked(columns, COLUMNS), faults), faults)


def test_each_series_is_an_instance_on_a_regular_grid(tmp_path: Path) -> None:
    rows = [f"a,2024-01-{day:02d},{day}" for day in range(1, 11) if day != 4]
    rows += [f"b,2024-02-{day:02d},{-day}" for day in range(1, 11)]
    first, second = from_csv(write(tmp_path / "s.csv", "unique_id,ds,y", *rows), {})
    assert first["item_id"] == "a"
    assert first["start"].startswith("2024-01-01")
    assert first["values"] == [1, 2, 3, None, 5, 6, 7, 8, 9, 10]
    assert second["values"] == [-day for day in range(1, 11)]
    assert first["freq"] == "D"
    assert "past" not in first


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    rows = [f"{2000 + n},{n}" for n in range(12)]
    (only,) = from_csv(write(tmp_path / "s.csv", "year,sold", *rows), {"ds": "year", "y": "sold"})
    assert only["values"] == list(range(12))


def test_covariates_and_the_known_future_come_along(tmp_path: Path) -> None:
    rows = [
        f"{name},2024-01-{day:02d},{day if day <= 10 else ''},{day % 7},{('blue', 'red')[day % 2]},{shop}"
        for name, shop in (("a", "north"), ("b", "south"))
        for day in range(1, 13)
    ]
    first, second = from_csv(write(tmp_path / "s.csv", "unique_id,ds,y,weekday,color,shop", *rows), {})
    assert first["values"] == list(range(1, 11))
    assert first["past"]["weekday"] == [day % 7 for day in range(1, 11)]
    assert first["past"]["color"][:2] == ["red", "blue"]
    assert first["future"]["weekday"] == [4, 5]
    assert first["future"]["color"] == ["red", "blue"]
    assert (first["static"], second["static"]) == ({"shop": "north"}, {"shop": "south"})


def test_faults_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", "unique_id,ds,y", "a,2024-01-01,1", "a,2024-01-02,many")
    with pytest.raises(DatasetInvalid) as caught:
        from_csv(path, {})
    assert caught.value.problems[0].pointer == "/file/row/3/column/y"
    with pytest.raises(DatasetInvalid, match="no column 'when'"):
        from_csv(path, {"ds": "when"})


@pytest.mark.parametrize(
    ("stamps", "start"),
    [
        ([f"2024-01-{day:02d}T16:00:00Z" for day in (1, 2, 3, 4)], "2024-01-01T16:00:00Z"),
        ([f"2024-{month:02d}-15" for month in (1, 2, 3, 4)], "2024-01-15"),
        (["7", "17", "27", "37"], 7),
    ],
)
def test_an_instance_starts_when_its_series_does(tmp_path: Path, stamps: list[str], start: object) -> None:
    rows = [f"{stamp},{index}" for index, stamp in enumerate(stamps)]
    (only,) = from_csv(write(tmp_path / "s.csv", "ds,y", *rows), {})
    assert only["start"] == start


def test_a_series_too_short_to_train_on_can_still_be_forecast(tmp_path: Path) -> None:
    (only,) = from_csv(write(tmp_path / "s.csv", "ds,y", "2024-01-01,1", "2024-01-02,2"), {})
    assert only["values"] == [1, 2]
