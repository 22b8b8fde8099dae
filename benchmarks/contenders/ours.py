"""Run a file of rx_collector, and make sure that no event is missing.

python ours.py FILE
"""

import sys

import rx_collector as rx

report = rx.load(sys.argv[1]).run()
assert report.balanced, report
assert report.exit_code == 0, report
