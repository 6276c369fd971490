"""The workers: the only place that imports torch; nothing here reports its use to anybody."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported, hence here
