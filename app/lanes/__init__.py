"""Prediction lanes: one small protocol over Redis lists between the API and the predictors."""

from app.lanes.inbox import Inbox
from app.lanes.lane import Answer, Lane
from app.lanes.wire import Presence, Reply, Request, Status, Tensor

__all__ = ["Answer", "Inbox", "Lane", "Presence", "Reply", "Request", "Status", "Tensor"]
