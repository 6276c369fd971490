"""Run the cases and write the section."""

import argparse

from benchmarks.overload.cases import CASES, LIGHT, service
from benchmarks.overload.figures import label, loads, memory, targets
from benchmarks.overload.measure import CONNECTIONS, PATIENT, TIMES, Result, overload
from benchmarks.report import write

SECONDS = 30.0
TEXT = """## Overload

`recurra up` with three LSTMs (8 features, 8 outputs), Open Inference Protocol JSON, every answer compared
with what its own request should give. Wanted are {times} times what 32 clients in a closed loop get, as
Poisson arrivals for {seconds:g} s over {connections} connections; an arrival that finds all of them waiting
for an answer is not sent, so offered is what generator and service, on the same cores, can exchange. Who is
refused does not ask again, but for the {patient:,} patient clients: each in a closed loop, after a refusal
when Retry-After has passed. Milliseconds, and requests/s:

{loads}

Memory (proportional set size) in MiB, before / most during / after:

{memory}

Recovered is the service when the median of ten requests in turn is below twice the unloaded median:

{targets}"""


def main() -> None:
    """Measure; a shorter run only prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each overload")
    seconds = parser.parse_args().seconds
    results: list[Result] = []
    with service() as served:
        closed_loops = [(case, served.closed(case, case.clients, min(5.0, seconds))) for case in CASES]
        for case, patient in ((LIGHT, False), (LIGHT, True), *((case, False) for case in CASES[1:])):
            results.append(overload(served, case, seconds, patient=patient))
            print(f"{label(results[-1])}: {results[-1].flood}", flush=True)
    text = TEXT.format(
        times=TIMES,
        seconds=seconds,
        connections=CONNECTIONS,
        patient=PATIENT,
        loads=loads(results),
        memory=memory(results),
        targets=targets(results, closed_loops),
    )
    if seconds >= SECONDS:
        write("overload", "make bench-overload", text)
    else:
        print(f"\n{text}\n")


if __name__ == "__main__":
    main()
