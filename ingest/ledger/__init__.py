"""The ledger outside of the data plane: from the workers' journals through Redis into the database."""
