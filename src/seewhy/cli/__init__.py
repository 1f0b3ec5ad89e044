"""The command line: one file per command; the only package that prints or exits.

`app` collects the commands and turns errors into exit codes. Each command's file holds its options,
its examples and what it prints; the work is done elsewhere.
"""
