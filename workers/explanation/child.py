"""The process that computes one explanation."""

import time
from collections.abc import Callable
from pathlib import Path

from app.errors import Invalid
from app.typedefs import Json
from workers.explanation.explain import explain
from workers.process.child import explain_failure, run_work

INVALID = "invalid"  # type of the last message about a request that cannot be explained


def describe(error: BaseException) -> Json:
    """The last message for an error; one of the request says where in it."""
    if isinstance(error, Invalid):
        problems = [list(problem) for problem in error.problems]
        return {"type": INVALID, "message": error.message, "problems": problems}
    return explain_failure(error)


def work(request: Json, on: Callable[[Json], None], should_stop: Callable[[], bool]) -> Json:
    """Explain what the serving worker asks for; it ends this process if that takes too long."""
    del on, should_stop
    begun = time.perf_counter()
    explanation = explain(Path(request["model_dir"]), request["body"].encode())
    return {"type": "done", "explanation": explanation, "seconds": time.perf_counter() - begun}


def main() -> None:
    """Answer one request."""
    run_work(work, describe)


if __name__ == "__main__":
    main()
