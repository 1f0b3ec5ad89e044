"""Figures as SVG, and photographs."""
