"""Migrations of storage, in the order of their names."""
