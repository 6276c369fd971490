"""The request as pydantic models, as one writes them for FastAPI and BentoML."""

from pydantic import BaseModel


class Tensor(BaseModel):
    """A tensor of the Open Inference Protocol."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    """A request of the Open Inference Protocol."""

    inputs: list[Tensor]
