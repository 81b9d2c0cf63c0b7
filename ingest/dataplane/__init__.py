"""The data plane: what happens to an event between the socket and Kafka. No ORM, serializer or task queue in here."""
