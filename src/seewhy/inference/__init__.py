"""Any classifier on picture files: what it says, where it looks, drawn at their own size."""
