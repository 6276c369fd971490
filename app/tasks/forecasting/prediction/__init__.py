"""A request on its way through a forecasting model: its covariates, and the point forecasts of its answer."""
