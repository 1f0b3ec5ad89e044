"""Statistics on plain numbers: no metrics, no maps, no files, no PyTorch."""
