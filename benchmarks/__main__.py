"""Run every benchmark."""

from benchmarks import api, forecasting
from benchmarks.serving import __main__ as serving

api.main()
forecasting.main()
serving.main()
