"""Forecasts in the form in which the client of TimeGPT, the package `nixtla`, asks for them."""
