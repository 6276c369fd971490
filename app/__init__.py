"""Recurra's web process and shared domain; nothing here imports torch."""

import gc
import sys

# FastAPI asks of every annotation whether it is a model of pydantic 1, and loads that library to find out:
# 2 MB and a tenth of the start-up for an answer that is always no. A failing import is the same answer.
sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]

# Start-up makes a few hundred thousand objects that live as long as the process. Collecting at every 700 new
# ones walks them again and again, an eighth of the start-up; requests make far fewer cycles than that.
gc.set_threshold(20_000, 20, 20)
