"""What diagnostics mean, by a rule, and what helps."""

from app.typedefs import Json

VANISHED = 1e-6  # of the largest gradient, what reaches half the steps back
MAX_MEMORY = 0.1  # of the steps, within which nearly all of the gradient then lies
LITTLE_GAIN = 0.1  # share of the untrained network's validation loss, by which who learns something lowers it
LOST = 1e-4  # of the largest gradient, what reaches the first step of who learns nothing
MAX_USELESS_MEMORY = 0.25  # of the steps, within which nearly all of the gradient then lies
EXPLODED = 1e3  # times the gradient of the last step, what reaches any other
MAX_SATURATED = 0.9  # share of the activations of one of these; others are near a limit in good networks too
LIMITED = ("hidden", "input", "output", "reset")

OK, VANISHING, EXPLODING, SATURATED = "ok", "vanishing", "exploding", "saturated"


def judge(measured: Json, cell: str, gain: float | None = None) -> Json:
    """The verdict on diagnostics, the rule it follows from, and a remedy; empty texts where all is well.

    `gain` is the share by which the validation loss has fallen since before the training; None is unknown.
    """
    largest = max(norm for _, norm in measured["gradient_by_lag"])
    rule = _explosion(measured, largest)
    if rule:
        remedy = "Lower training.learning_rate or training.clip_norm, or training.bptt_steps of texts."
        return {"verdict": EXPLODING, "rule": rule, "remedy": remedy}
    rule = _short_memory(measured, largest) or _useless_memory(measured, largest, gain)
    if rule:
        return {"verdict": VANISHING, "rule": rule, "remedy": _longer_memory(cell)}
    if rule := _saturation(measured):
        remedy = "Lower training.learning_rate, or set network.layer_norm where the task has it."
        return {"verdict": SATURATED, "rule": rule, "remedy": remedy}
    return {"verdict": OK, "rule": "", "remedy": ""}


def _explosion(measured: Json, largest: float) -> str:
    """What says that an earlier step has a far larger gradient than the last one."""
    curve = measured["gradient_by_lag"]
    first = curve[0][1]
    if not first > 0 or largest <= EXPLODED * first:
        return ""
    lag = max(curve, key=lambda pair: pair[1])[0]
    return f"The gradient {lag:,} steps back is {largest / first:,.0f} times the last step's."


def _short_memory(measured: Json, largest: float) -> str:
    """What says that next to nothing reaches the first half of the steps."""
    memory, steps = measured["memory_length"], measured["steps"]
    half, reaching = min(measured["gradient_by_lag"], key=lambda pair: abs(pair[0] - steps / 2))
    if memory >= MAX_MEMORY * steps or reaching >= VANISHED * largest:
        return ""
    return (
        f"{memory:,} of {steps:,} steps hold nine tenths of the gradient; {half:,} steps back it is "
        f"{reaching / largest:.0e} of the largest."
    )


def _useless_memory(measured: Json, largest: float, gain: float | None) -> str:
    """What says that nothing was learned, and little reaches the first step.

    Short memories are common among good networks: that alone says nothing.
    """
    lag, farthest = measured["gradient_by_lag"][-1]
    short = measured["memory_length"] < MAX_USELESS_MEMORY * measured["steps"]
    if gain is None or gain >= LITTLE_GAIN or not short or farthest >= LOST * largest:
        return ""
    return (
        f"The validation loss has fallen by {max(gain, 0.0):.0%}, and the gradient {lag:,} steps back is "
        f"{farthest / largest:.0e} of the largest."
    )


def _saturation(measured: Json) -> str:
    """What says that most activations of a gate are near an end of their range."""
    for gate, one in measured["gates"].items():
        if gate in LIMITED and one["saturated"] > MAX_SATURATED:
            return f"{one['saturated']:.0%} of the activations of {gate} are near their limits."
    return ""


def _longer_memory(cell: str) -> str:
    """What lets a network of this cell learn from further back."""
    choice = "choose network.cell lstm or gru, or " if cell == "rnn" else "train longer, "
    return (
        f"If what matters lies further back, {choice}give shorter sequences, or choose pooling or attention "
        "where the task has them."
    )
