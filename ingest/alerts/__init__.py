"""Control plane: what is not as it should be, who is told of it, and when."""
