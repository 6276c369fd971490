"""Run every benchmark."""

from benchmarks import api, checkpoints, streaming
from benchmarks.burst import __main__ as burst
from benchmarks.forecasting import __main__ as forecasting
from benchmarks.overload import __main__ as overload
from benchmarks.serving import __main__ as serving

api.main()
forecasting.main()
serving.main()
overload.main()
burst.main()
checkpoints.main()
streaming.main()
