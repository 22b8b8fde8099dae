"""The picture of a project: what its programs print, through which pipelines it goes, and where it ends.

model      what stands in a picture: nodes, edges, counts
build      the picture of a project, and with a balance sheet what went which way
layout     where nodes and edges stand, for the formats that have to say so themselves
text       how wide a text is, and how it is cut
mermaid    dot    svg       the formats
"""
