"""The ledger: the counts that say where every event went.

`counts` holds what is counted while a run goes on, `report` the frozen balance sheet made from it.
"""

from rx_collector.ledger.counts import GroupNode, Ledger, Node, PipelineLedger, RunnerLedger
from rx_collector.ledger.report import NodeReport, PipelineReport, Report, RunnerReport, SinkReport

__all__ = [
    "GroupNode",
    "Ledger",
    "Node",
    "NodeReport",
    "PipelineLedger",
    "PipelineReport",
    "Report",
    "RunnerLedger",
    "RunnerReport",
    "SinkReport",
]
