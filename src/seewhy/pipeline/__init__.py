"""Studies: read study.py first."""
