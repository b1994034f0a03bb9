"""What issue 3 asks of decision times: `python benchmarks/plan_latency.py` (some minutes; nothing else should run).

Plans 200 times with each search of configs/bench/plan.yaml, compiled for this machine, in single and in half precision. Asked for on 2 CPU
cores: guarded 128 x 3 over 5 blocks within 50 ms at p95, the cross-entropy method with 300 x 30 over 5 blocks within 400 ms at p50.
Then how time grows with candidates, horizon and problems, and the memory of 100,000 candidates. It is `robo-dream bench plan` with
these settings; other arguments are handed on, such as device=cuda.
"""

import os
import sys

os.environ.setdefault("MUJOCO_GL", "egl")

from robo_dream.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "plan", "--config", "configs/bench/plan.yaml", "compiled=[true]", "decisions=200", *sys.argv[1:]]))
