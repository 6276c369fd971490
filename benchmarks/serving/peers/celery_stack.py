"""Celery RPC as one command: Redis, one worker process, FastAPI in front; `… celery_stack PORT`."""

import os
import signal
import subprocess
import sys
import tempfile

PACKAGE = "benchmarks.serving.peers"
WORKER = [
    "--pool",
    "solo",
    "--loglevel",
    "warning",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
]


def main() -> None:
    """Run all three until a signal comes."""
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/redis.sock"
        os.environ["BENCH_REDIS"] = f"redis+socket://{socket}"
        server = [os.environ["BENCH_VALKEY"], "--port", "0", "--unixsocket", socket, "--save", ""]
        celery = [sys.executable, "-m", "celery", "-A", f"{PACKAGE}.celery_app", "worker", *WORKER]
        front = ["--port", sys.argv[1], "--no-access-log", "--log-level", "warning"]
        web = [sys.executable, "-m", "uvicorn", f"{PACKAGE}.celery_front:front", *front]
        parts = [subprocess.Popen(command) for command in (server, celery, web)]
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            parts[-1].wait()
        except KeyboardInterrupt:
            pass
        finally:
            for part in reversed(parts):
                part.terminate()
                part.wait(timeout=10)


if __name__ == "__main__":
    main()
