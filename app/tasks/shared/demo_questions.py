"""Questions of demos on samples whose rows name their split: examples from the test rows."""

from collections.abc import Callable

from app.tasks.demonstration import Question
from app.tasks.source import Faults, Source
from app.typedefs import Json

MAX_QUESTIONS = 3


def ask_test_rows(
    as_instance: Callable[[Json], Json], select: Callable[[Json], bool] = lambda _: True
) -> Callable[[Source, Faults], list[Question]]:
    """A demo's `questions`: a few of the selected test rows, from all over the file."""

    def questions(source: Source, faults: Faults) -> list[Question]:
        del faults
        rows = [row for _, row in source.records() if row["split"] == "test" and select(row)]
        chosen = rows[:: len(rows) // MAX_QUESTIONS][:MAX_QUESTIONS]
        return [Question(as_instance(row), row, as_instance(row)) for row in chosen]

    return questions
