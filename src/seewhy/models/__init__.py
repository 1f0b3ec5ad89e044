"""Backbones, the cut, the classifier, ImageNet's classes."""
