"""Baseline, predictions, metrics."""
