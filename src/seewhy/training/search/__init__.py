"""The search for a head."""
