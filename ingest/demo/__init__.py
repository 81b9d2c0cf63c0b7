"""What `make demo` fills a running platform with, so that every page of the console has something to show."""
