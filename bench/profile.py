"""`python -m bench.profile`: where the microseconds of an event or a request go, in process, on a real Kafka and Redis.

Starts the same surroundings as the benchmark and runs `bench.stages` in them. Main thread.
"""

import argparse
import os
import signal
import subprocess
import sys

from bench.site import DIRECTORY, ROOT, opened
from forebay.local import metrics_dir
from forebay.local.command import LocalServiceError
from forebay.local.stop_signals import StopAsked


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("load", nargs="?", choices=("single", "batch"), help="default: both")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with opened(lambda line: print(line, file=sys.stderr, flush=True)) as site:
            for load in [arguments.load] if arguments.load else ["single", "batch"]:
                _run(load, site.key)
    except (LocalServiceError, OSError) as error:
        sys.exit(f"bench: {error}")
    except (KeyboardInterrupt, StopAsked):
        sys.exit(130)


def _run(load: str, key: str) -> None:
    metrics_path = DIRECTORY / load / "prometheus"
    metrics_dir.empty(metrics_path)
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(metrics_path)}
    done = subprocess.run([sys.executable, "-m", "bench.stages", load, key], cwd=ROOT, env=env, check=False)
    if done.returncode != 0:
        raise LocalServiceError("bench.stages failed; why is above")


if __name__ == "__main__":
    main()
