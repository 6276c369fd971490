"""What diagnostics mean, by a rule, and what helps."""

from app.typedefs import Json

VANISHED = 1e-6  # of the largest gradient, what reaches half the steps back
MAX_MEMORY = 0.1  # of the steps, within which nearly all of the gradient then lies
EXPLODED = 1e3  # times the gradient of the last step, what reaches any other
MAX_SATURATED = 0.9  # share of the activations of one of these; others are near a limit in good networks too
LIMITED = ("hidden", "input", "output", "reset")

OK, VANISHING, EXPLODING, SATURATED = "ok", "vanishing", "exploding", "saturated"


def judge(measured: Json, cell: str) -> Json:
    """The verdict on diagnostics, the rule it follows from, and a remedy; empty texts where all is well."""
    curve = measured["gradient_by_lag"]
    first, largest = curve[0][1], max(norm for _, norm in curve)
    if first > 0 and largest > EXPLODED * first:
        lag = max(curve, key=lambda pair: pair[1])[0]
        return {
            "verdict": EXPLODING,
            "rule": f"The gradient {lag:,} steps back is {largest / first:,.0f} times the last step's.",
            "remedy": "Lower training.learning_rate or training.clip_norm, or training.bptt_steps of texts.",
        }
    half, reaching = min(curve, key=lambda pair: abs(pair[0] - measured["steps"] / 2))
    short = measured["memory_length"] < MAX_MEMORY * measured["steps"]
    if largest > 0 and short and reaching < VANISHED * largest:
        return {
            "verdict": VANISHING,
            "rule": f"{measured['memory_length']:,} of {measured['steps']:,} steps hold nine tenths of the "
            f"gradient; {half:,} steps back it is {reaching / largest:.0e} of the largest.",
            "remedy": _longer_memory(cell),
        }
    for gate, one in measured["gates"].items():
        if gate in LIMITED and one["saturated"] > MAX_SATURATED:
            return {
                "verdict": SATURATED,
                "rule": f"{one['saturated']:.0%} of the activations of {gate} are near their limits.",
                "remedy": "Lower training.learning_rate, or set network.layer_norm where the task has it.",
            }
    return {"verdict": OK, "rule": "", "remedy": ""}


def _longer_memory(cell: str) -> str:
    """What lets a network of this cell learn from further back."""
    choice = "choose network.cell lstm or gru, or " if cell == "rnn" else "train longer, "
    return (
        f"If what matters lies further back, {choice}give shorter sequences, or choose pooling or attention "
        "where the task has them."
    )
