"""Where a classifier looks: class activation maps for any network."""
