"""Backpressure: the one kind of bounded queue, what it does when it is full, and the thread behind it.

boundary    the state machine: offer, drain, close, cancel
strategy    what a strategy declares, and the store it makes
block, drop_oldest, drop_newest, latest, conflate, error, spill
consumer    the thread behind a boundary
"""

from rx_collector.backpressure.boundary import Boundary
from rx_collector.backpressure.strategy import STRATEGIES, Strategy
from rx_collector.config.registry import import_all

__all__ = ["STRATEGIES", "Boundary", "Strategy"]

import_all(__name__, list(__path__))
