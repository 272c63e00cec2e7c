"""Migrations of webhooks, in the order of their names."""
