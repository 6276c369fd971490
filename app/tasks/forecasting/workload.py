"""How much a forecasting job computes at once."""

from app.errors import pointer
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.preprocessing import MAX_CONTEXT_STEPS, MIN_CONTEXT_STEPS
from app.tasks.forecasting.sampling import MIN_EPOCH_WINDOWS
from app.tasks.workload import Workload
from app.typedefs import Json


def workload(summary: Json, options: ForecastingOptions, network: Json, training: Json) -> Workload:
    """The size of a training: a window of each series, of each again and again if they are few."""
    del network, training
    automatic = max(MIN_CONTEXT_STEPS, min(2 * options.horizon, MAX_CONTEXT_STEPS))
    context = options.context_length or automatic
    return Workload(
        examples=max(summary["series"], MIN_EPOCH_WINDOWS),
        steps=max(1, min(context, summary["longest_train"] // 2)),
        steps_setting=pointer("options", "context_length"),
        inputs=1,
        outputs=options.horizon * len(options.quantiles),
        stepwise=True,
    )
