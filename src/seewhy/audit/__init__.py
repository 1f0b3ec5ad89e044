"""Shortcuts: discovered in what images of one class share, confirmed on the classifier itself."""
