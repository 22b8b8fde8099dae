"""Backpressure: the one kind of bounded queue, what it does when it is full, and the thread behind it."""

from rx_collector.backpressure.boundary import Boundary
from rx_collector.backpressure.strategies import STRATEGIES, Strategy

__all__ = ["STRATEGIES", "Boundary", "Strategy"]
