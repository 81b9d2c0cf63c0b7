"""The console's own pages: what no table of the database shows by itself."""
