"""Migrations of referrals, in the order of their names."""
