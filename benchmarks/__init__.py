"""Measurements; each prints what it found."""
