"""Features computed once, the epochs, the two stages."""
