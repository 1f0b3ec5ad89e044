"""What a study stores: schemas, files, the lock, one run directory."""
