"""The Piccolo app of core's own tables, which every service's database has."""
