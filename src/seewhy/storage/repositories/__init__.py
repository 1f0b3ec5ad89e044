"""Writing and reading the files of a run directory, one repository per subject."""
