"""Migrations of search, in the order of their names."""
