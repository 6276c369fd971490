"""Evaluation of forecasts at rolling origins, and forecasts without a network to compare them with."""
