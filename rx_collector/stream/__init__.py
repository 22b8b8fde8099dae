"""Streams: how operators become one loop, and how batches travel.

`flow` says what neighbours say to each other, `operator` what an operator is, `code` and `segment` compile rows of stages,
`eventstream` is the Observable over all that.
"""
