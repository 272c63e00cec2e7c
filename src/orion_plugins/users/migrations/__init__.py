"""Migrations of users, in the order of their names."""
