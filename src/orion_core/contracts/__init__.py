"""What the services promise: one file per service with its contract, values, events and errors."""
