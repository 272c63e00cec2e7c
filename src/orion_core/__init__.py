"""ORION: the backend every product needs, as a library."""
