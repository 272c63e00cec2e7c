"""One conformance suite per port: subclass it in a test module and name the adapter."""
