"""The package whose rules of entities ours follow, imported where a test compares: it brings scikit-learn."""

from importlib import import_module
from typing import Any

import pytest


@pytest.fixture(scope="session")
def seqeval() -> Any:
    """The package, with its metrics and schemes."""
    import_module("seqeval.metrics")
    return import_module("seqeval")
