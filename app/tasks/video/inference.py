"""Instances of a video model as inputs, and the network's outputs as answers."""

import numpy as np

from app.errors import Invalid, Problem
from app.media.decoder import process_decoder
from app.media.errors import MediaError
from app.tasks.arrays import Arrays, Floats
from app.tasks.contract import Example
from app.tasks.shared import label_metrics
from app.tasks.shared.ragged import Ragged
from app.tasks.video.encoding import ClipEncoding
from app.tasks.video.options import VideoInstance, VideoParameters
from app.tasks.video.reading import CLIPS, LABEL
from app.typedefs import Json

FIELD = "video_base64"  # of an instance


class VideoInstances:
    """The clips of a data set as instances, each made when it is requested."""

    def __init__(self, arrays: Arrays) -> None:
        self._clips, self._count = Ragged.from_arrays(arrays, CLIPS), len(arrays[LABEL])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> VideoInstance:
        return VideoInstance(self._clips[index].tobytes())


def encode_instance(state: Json, instance: VideoInstance) -> Example:
    """The frames (time, features) of a clip; raises `Invalid` for what is not a clip."""
    encoding = ClipEncoding(**state["encoding"])
    try:
        frames = encoding.decode(process_decoder(), instance.video_base64)
    except MediaError as error:
        raise Invalid(problems=[Problem(f"/{FIELD}", str(error))]) from None
    return Example(np.ascontiguousarray(frames[encoding.select(len(frames))]), None)


def label_answer(state: Json, outputs: Floats, parameters: VideoParameters) -> Json:
    """The most probable label, and the probabilities of labels in falling order."""
    likely = label_metrics.probabilities(outputs, state["temperature"])
    order = np.argsort(-likely, kind="stable")[: parameters.top_k]
    scores = {state["labels"][label]: float(likely[label]) for label in order.tolist()}
    return {"label": next(iter(scores)), "scores": scores}
