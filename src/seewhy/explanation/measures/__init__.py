"""Faithfulness, localisation and sanity checks of maps."""
