"""Prediction lanes: one small protocol over Redis lists between the API and the predictors."""

from app.lanes.lane import Lane
from app.lanes.pending_requests import Answer, PartialAnswer
from app.lanes.request_consumer import RequestConsumer
from app.lanes.wire import (
    DecodingInfo,
    PredictorPresence,
    Reply,
    ReplyStatus,
    Request,
    Tensor,
    explanation_lane,
)

__all__ = [
    "Answer",
    "DecodingInfo",
    "Lane",
    "PartialAnswer",
    "PredictorPresence",
    "Reply",
    "ReplyStatus",
    "Request",
    "RequestConsumer",
    "Tensor",
    "explanation_lane",
]
