"""Instances of a video model as inputs, made of files or of a data set."""

import numpy as np

from app.arrays import Arrays
from app.errors import Invalid, Problem
from app.media.decoder import process_decoder
from app.media.errors import MediaError
from app.tasks.contract import Example
from app.tasks.shared.ragged import Ragged
from app.tasks.video.encoding import ClipEncoding
from app.tasks.video.options import VideoInstance
from app.tasks.video.reading import CLIPS, LABEL
from app.typedefs import Json

FIELD = "video_base64"  # of an instance
SHORTENED = "The clip ends before its header says; what is there was read."


class VideoInstances:
    """The clips of a data set as instances, each made when it is requested."""

    def __init__(self, arrays: Arrays) -> None:
        self._clips, self._count = Ragged.from_arrays(arrays, CLIPS), len(arrays[LABEL])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> VideoInstance:
        return VideoInstance(self._clips[index].tobytes())


def encode_instance(state: Json, instance: VideoInstance) -> Example:
    """The frames (time, features) of a clip, and warnings; raises `Invalid` for what is not a clip."""
    encoding = ClipEncoding(**state["encoding"])
    try:
        frames, facts = encoding.decode_facts(process_decoder(), instance.video_base64)
    except MediaError as error:
        raise Invalid(problems=[Problem(f"/{FIELD}", str(error))]) from None
    warnings = [SHORTENED] if facts["shortened"] else []
    return Example(np.ascontiguousarray(frames[encoding.select(len(frames))]), warnings)
