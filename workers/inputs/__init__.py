"""The kinds of input: for each its input layer, and random inputs to try a network with."""

from app.tasks.contract import Input
from workers.inputs.clips import CLIPS
from workers.inputs.frames import FRAMES
from workers.inputs.kind import InputKind
from workers.inputs.tokens import TOKENS
from workers.inputs.vectors import VECTORS

__all__ = ["INPUTS", "InputKind"]

INPUTS: dict[Input, InputKind] = {
    Input.TOKENS: TOKENS,
    Input.VECTORS: VECTORS,
    Input.FRAMES: FRAMES,
    Input.CLIPS: CLIPS,
}
