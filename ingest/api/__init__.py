"""The HTTP side of ingestion: thin views over the data plane."""
