"""The report: one self-contained HTML file, drawn from a study's records alone."""
