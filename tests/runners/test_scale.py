"""Many runners, many starts, and long times in which nothing happens. Each test measures a process of its own."""

from __future__ import annotations

import pytest

from tests.conftest import rounds
from tests.runners.helpers import said

pytestmark = pytest.mark.slow

MEASURE = """
import json, resource
from tests.conftest import descriptors
def threads(): return len(os.listdir('/proc/self/task'))
def memory():
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmRSS'))
def spent():
    '''Processor time in seconds and voluntary context switches, over all threads.'''
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_nvcsw
Collected(rx.runner('echo', 'warm')).wait()
wait_until(lambda: threads() == 1, 'only the main thread is left')
"""


def test_five_hundred_runners() -> None:
    """One thread for each and one for all; four descriptors for each; all of them stream, and all of them stop."""
    code = MEASURE + (
        "before = threads(), len(descriptors())\n"
        "runners = [rx.runner('sh', '-c', 'echo up; sleep 3600', name=f'r{n}') for n in range(500)]\n"
        "all_ = [Collected(runner) for runner in runners]\n"
        "for one in all_: assert one.first.wait(60)\n"
        "during = threads(), len(descriptors())\n"
        "used = spent(); time.sleep(1); idle = [now - then for now, then in zip(spent(), used)]\n"
        "began = time.monotonic()\n"
        "for runner in runners: runner.stop()\n"
        "for one in all_: one.wait(60)\n"
        "took = time.monotonic() - began\n"
        "wait_until(lambda: (threads(), len(descriptors())) == before, 'all is as it was')\n"
        "print(json.dumps([before, during, idle, took, [one.texts for one in all_]]))\n"
    )
    before, during, idle, took, texts = said(code, deadline=120)
    assert during[0] - before[0] == 500 + 1
    assert during[1] - before[1] <= 4 * 500 + 8  # some are of the supervisor and the guardian
    assert texts == [["up"]] * 500
    assert idle[0] < 0.05  # seconds of processor time in one second, by 500 runners
    assert idle[1] < 50
    assert took < 30


def test_thousands_of_starts_and_stops_leak_nothing() -> None:
    code = MEASURE + (
        "def some(count):\n"
        "    for number in range(count):\n"
        "        if number % 3: Collected(rx.runner('true', name='x')).wait()\n"
        "        else:\n"
        "            one = Collected(rx.runner('sleep', '3600', name='x')); one.subscription.dispose()\n"
        "    wait_until(lambda: not supervisor.children(), 'all are gone')\n"
        "    wait_until(lambda: threads() == before, 'no thread is left')\n"
        "before = threads()\n"
        "some(300)\n"
        "names, rss = descriptors(), memory()\n"
        "some(int(sys.argv[1]))\n"
        "print(json.dumps([len(descriptors() - names), memory() - rss]))\n"
    )
    leaked, grown = said(code, str(rounds(2_000, 10_000)), deadline=230)
    assert leaked == 0
    assert grown < 4096  # KiB


@pytest.mark.parametrize("options", ["", "idle_timeout='1h', start_timeout='1h'", "output='pty'", "stderr='events'"])
def test_a_runner_with_nothing_to_do_costs_nothing(options: str) -> None:
    """Not even with time-outs: nobody looks at a clock that has not come round."""
    code = MEASURE + (
        f"one = Collected(rx.runner('sh', '-c', 'echo up; exec sleep 3600', name='x', {options}))\n"
        "one.first.wait(20); time.sleep(0.2)\n"
        "used = spent(); time.sleep(2)\n"
        "print(json.dumps([now - then for now, then in zip(spent(), used)]))\n"
        "one.subscription.dispose()\n"
    )
    seconds, switches = said(code)
    assert seconds < 0.005
    assert switches <= 3  # our own sleep is one


def test_a_collector_with_nothing_to_do_costs_nothing(tmp_path: object) -> None:
    """The whole of it: a pipeline, its boundary and a file, with no events."""
    code = MEASURE + (
        "from rx_collector.pipeline.collector import Collector\n"
        "from pathlib import Path\n"
        "Path(sys.argv[1], 'x.yaml').write_text('''\n"
        "runners: {a: {command: [sleep, '3600']}}\n"
        "pipelines: {p: {from: a, operators: [{set: {x: 1}}], sinks: [{file: out, backpressure: block}]}}\n"
        "''')\n"
        "collector = Collector(rx.load(Path(sys.argv[1], 'x.yaml'), {}))\n"
        "thread = threading.Thread(target=collector.run); thread.start()\n"
        "wait_until(lambda: len(supervisor.children()) == 1, 'it runs'); time.sleep(0.3)\n"
        "used = spent(); time.sleep(2)\n"
        "print(json.dumps([now - then for now, then in zip(spent(), used)]))\n"
        "sys.stdout.flush(); collector.stop(); thread.join()\n"
    )
    seconds, switches = said(code, str(tmp_path))
    assert seconds < 0.005
    assert switches <= 3
