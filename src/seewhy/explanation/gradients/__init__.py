"""All classes in one backward pass."""
