"""The report, drawn from records alone."""
