"""`make setup`: makes the virtual environment, and says meanwhile what it fetches, how much is left and how long.

Nothing is installed yet when this runs: it needs Python's standard library alone, and the pip that comes with it.
"""
