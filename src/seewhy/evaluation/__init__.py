"""seewhy."""
