"""One module per wire format: bytes to events and an outcome to an answer. Pure."""
