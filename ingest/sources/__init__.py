"""What is not a request: long-lived connections and datagrams, on the asyncio loop of `manage.py listen`."""
