"""What a service may ask of the world: each port is a protocol of at most five methods, guarantees first."""
