"""Engines against reference arithmetic, and the cache of them with fakes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from app.errors import NotFound
from app.lanes import Status
from tests.networks import lstm, store
from workers.artifacts import ArtifactCache, Damaged
from workers.batching import pad
from workers.engines import REMEMBER_SECONDS, Broken, Engines, Floats, Ints, OnnxEngine, open_onnx
from workers.torch_engine import torch_opener
