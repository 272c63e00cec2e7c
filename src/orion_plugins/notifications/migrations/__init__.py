"""Migrations of notifications, in the order of their names."""
