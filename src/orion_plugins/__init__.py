"""The services of ORION, each a plugin."""
