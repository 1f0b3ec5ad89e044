"""What is wrong with images: faults, duplicates, label issues, outliers."""
