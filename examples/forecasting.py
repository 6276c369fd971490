"""Forecast two weeks of weather: train on daily maxima in Seattle, then forecast from the last days."""

import csv

from service import SAMPLES, Service, parse_epochs

SAMPLE, HORIZON = "seattle_weather.csv", 14


def main() -> None:
    """Train, compare with the seasonal naive forecast, and forecast."""
    epochs, service = parse_epochs(12), Service()
    version = service.train(
        task="forecasting",
        dataset=service.upload("forecasting", SAMPLE),
        model="temperature",
        network={"cell": "gru"},
        training={"epochs": epochs},
        options={"horizon": HORIZON},
    )
    ours, naive = version["metrics"]["smape"], version["baseline"]["smape"]
    print(f"sMAPE on held-out days: {ours:.1f} %, seasonal naive forecast {naive:.1f} %")

    with (SAMPLES / SAMPLE).open() as file:
        days = list(csv.DictReader(file))[-60:]
    series = {"values": [float(day["y"]) for day in days], "start": days[0]["ds"], "freq": "D"}
    (forecast,) = service.predict(version, series)
    print(f"After {days[-1]['ds']}, the daily maximum in °C, and the range that holds four days of five:")
    low, high = forecast["quantiles"]["0.1"], forecast["quantiles"]["0.9"]
    for day, middle, least, most in zip(forecast["timestamps"], forecast["mean"], low, high, strict=True):
        print(f"  {day}  {middle:5.1f}   {least:5.1f} to {most:5.1f}")


if __name__ == "__main__":
    main()
