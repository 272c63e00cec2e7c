"""What a host tells about itself."""
