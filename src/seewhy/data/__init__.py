"""Images: sources, splits, decoded pixels, batches on the device."""
