"""Prediction lanes: one small protocol over Redis lists between the API and the predictors."""

from app.lanes.inbox import Inbox
from app.lanes.lane import Lane
from app.lanes.waiting import Answer, Part
from app.lanes.wire import Decoded, Presence, Reply, Request, Status, Tensor

__all__ = ["Answer", "Decoded", "Inbox", "Lane", "Part", "Presence", "Reply", "Request", "Status", "Tensor"]
