"""Migrations of auth, in the order of their names."""
