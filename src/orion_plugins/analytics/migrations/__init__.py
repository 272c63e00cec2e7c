"""Migrations of analytics, in the order of their names."""
