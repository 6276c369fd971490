"""Recurra's web process and shared domain; nothing here imports torch."""

import gc
import sys

# FastAPI tests every annotation for models of pydantic 1, and imports that library to do so: 2 MB and a tenth
# of the start-up, for models that do not exist here. Where the import fails, FastAPI skips the test.
sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]

# Start-up makes a few hundred thousand objects that live as long as the process. To collect garbage at every
# 700 new objects, the default, takes an eighth of the start-up; requests make far fewer cycles than that.
gc.set_threshold(20_000, 20, 20)
