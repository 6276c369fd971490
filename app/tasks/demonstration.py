"""What `recurra demo` runs for a task: a sample, jobs, questions, and how predictions are shown to people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from app.tasks.source import Faults, Source
from app.typedefs import Json


class StyledText(NamedTuple):
    """A piece of text for people; its style says what it means, not how that looks."""

    text: str
    style: Literal["plain", "right", "wrong", "mark", "aside"] = "plain"


class Curve(NamedTuple):
    """A line of a chart, or markers; None is a gap. It must be told from the others without colors."""

    values: Sequence[float | None]
    start: int  # of the first value on the axis of steps
    color: str  # one of a terminal's eight
    marker: str | None = None  # drawn at each value instead of a line


@dataclass(frozen=True)
class Chart:
    """A prediction to be drawn."""

    title: str
    curves: tuple[Curve, ...]
    legend: str


class Question(NamedTuple):
    """An instance to predict in a demo, the sample's example that it is made of, and a shorter instance."""

    instance: Json
    example: Json
    brief: Json  # to be sent by hand; may be the instance itself


@dataclass(frozen=True)
class Demo:
    """A short training on a small sample, and questions to the models it makes: what `recurra demo` runs."""

    sample: str  # file in app/samples
    contents: str  # of the sample; fields of the data set's summary may stand in braces
    baseline: str  # its name for people
    metrics: dict[str, bool]  # those that decide who is better, and whether more of each is better
    jobs: dict[str, Json]  # name of a model -> network, training and options of the job that makes it
    questions: Callable[[Source, Faults], list[Question]]  # about examples that no model was trained on
    # How a prediction is shown; None: its text is streamed.
    render: Callable[[Question, Json], list[StyledText | Chart]] | None
    parameters: Json = field(default_factory=dict)  # of the predictions
    hold_out: Callable[[Path, Path], None] | None = None  # from a sample makes the file that is uploaded
    must_win: bool = True  # whether it is a failure when the baseline is as good
    default: bool = False  # whether it runs where no task is named
