"""What work runs on: device and precision, progress, interruption, callers' arguments."""
