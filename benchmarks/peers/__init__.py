"""seewhy and other libraries fine-tune one network on the same images in the same time.

Read ``plan.py`` first: which runs there are. ``images.py`` and ``weights.py`` make what all runs
share, a ``drive_*.py`` trains with one library in an environment of its own, ``scoring.py`` scores
the test predictions of all of them, ``table.py`` and ``figure.py`` show the records.
"""
