"""Statements, tables and what is written beside the page."""
