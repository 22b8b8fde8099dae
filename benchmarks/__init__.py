"""The benchmark suite: rx_collector beside what else does the same work, as ratios within one run.

`python -m benchmarks` measures (see README.md beside this file).
"""
