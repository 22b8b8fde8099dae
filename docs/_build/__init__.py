"""What makes the reference of the documents from the declarations and the cases; run by mkdocs and by the tests.

    picture     a marble picture and its SVG
    cases       a case of a component is run, and what came of it is a picture
    slow_sink   a boundary before a slow sink, in virtual time
    pages       the pages in Markdown
    hook        what mkdocs calls
"""
