"""From what a person typed to decoded images in three splits, and on to a network's input."""
