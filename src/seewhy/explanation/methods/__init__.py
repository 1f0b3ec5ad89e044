"""Class activation mapping methods: the formulas, one subject a file, and their registry."""

from __future__ import annotations

from seewhy.explanation.methods.gradient import gradcam
from seewhy.explanation.methods.registry import METHODS, Method, find_method

__all__ = ["METHODS", "Method", "find_method", "gradcam"]
