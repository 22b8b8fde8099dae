"""For those who write components: checks that an operator, a sink or a runner keeps the rules, and the fakes for them.

    from rx_collector.testing import check_operator, check_sink, check_runner

    def test_my_operator():
        check_operator(MyOperator(), payloads=[{"pid": 7}, {"pid": 8}])

Each check raises AssertionError that names the rule. The rules are those of the Reactive Streams specification that have a
meaning here, each a function in `rules` named by its number, and that the ledger balances after each of them.
"""

from rx_collector.testing.check import check_operator, check_runner, check_sink
from rx_collector.testing.probe import Probe, Script, Scripted, run_script

__all__ = ["Probe", "Script", "Scripted", "check_operator", "check_runner", "check_sink", "run_script"]
