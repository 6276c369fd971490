"""The leaderboard of a sweep as a table."""

from app.cli.console import format_cell, print_table
from app.typedefs import Json


def print_leaderboard(sweep: Json) -> None:
    """Print the trials, the best first."""
    board = sweep["leaderboard"]
    names = list(sweep["search"]["space"])
    rows = [
        (
            row["rank"],
            *(_value(row["parameters"][name]) for name in names),
            _spread(row),
            row["seconds"],
            f"{sum(run['value'] is not None for run in row['seeds'])}/{sweep['search']['seeds']}",
            row["status"],
        )
        for row in board
    ]
    columns = ["#", *(name.partition(".")[2] for name in names), sweep["metric"], "seconds#", "runs#", ""]
    print_table(columns, rows, title=f"{sweep['model']}: {len(board)} trials")


def _value(value: object) -> str:
    return "none" if value is None else format_cell(value)


def _spread(row: Json) -> str:
    if row["metric"] is None:
        return ""
    return format_cell(row["metric"]) + ("" if row["spread"] is None else f" ± {row['spread']:.2g}")
