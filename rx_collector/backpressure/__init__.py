"""Backpressure: the one kind of bounded queue, what it does when it is full, and the thread behind it.

boundary    the state machine: offer, drain, close, cancel
strategy    what a strategy declares, and the store it makes
block, drop_oldest, drop_newest, latest, conflate, error, spill
consumer    the thread behind a boundary
"""

from rx_collector.backpressure.boundary import Boundary
from rx_collector.backpressure.strategy import STRATEGIES, Strategy

__all__ = ["STRATEGIES", "Boundary", "Strategy"]

STRATEGIES.look_in(__name__, __path__)
