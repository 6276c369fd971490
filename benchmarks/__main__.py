"""Run every benchmark."""

from benchmarks import api, forecasting

api.main()
forecasting.main()
