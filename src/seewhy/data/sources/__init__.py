"""Where images come from: folders, arrays, CIFAR-10.2, the demo."""
