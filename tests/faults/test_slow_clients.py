"""Clients that pause in the middle of their bodies hold the threads of their own tenant, and nobody else's."""

import select
import socket

from tests.faults.conftest import Serve, admit_tenant, wait_until_known
from tests.faults.traffic import Client, event, ndjson
from tests.programs import poll_until

BODY = ndjson([event("pausing", 1)])
# Half of the 64 threads that a worker ships with.
MOST_BODIES = 32
PAUSING = 40


def pause_in_the_middle(port: int, key: str) -> socket.socket:
    """A request whose body stops half-way."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = f"POST /api/logs/batch HTTP/1.1\r\nHost: forebay\r\nX-API-Key: {key}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    connection.sendall(head.encode() + BODY[: len(BODY) // 2])
    return connection


def hang_up(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def answered(connections: list[socket.socket]) -> list[socket.socket]:
    return select.select(connections, [], [], 0)[0]


def test_a_tenant_that_pauses_in_its_bodies_gets_half_of_the_threads_and_the_others_notice_nothing(
    serve: Serve,
) -> None:
    node, key = serve()
    bolts_key = admit_tenant(node, "bolt")
    wait_until_known(node, bolts_key)

    paused = [pause_in_the_middle(node.port, bolts_key) for _ in range(PAUSING)]
    assert poll_until(lambda: len(answered(paused)) >= PAUSING - MOST_BODIES, 20)
    refused = answered(paused)
    refusals = [connection.recv(4096) for connection in refused]
    with Client(node.port, key) as acme:
        answers = [acme.post("/api/logs/batch", ndjson([event("acme", number)])) for number in range(200)]
    holding = [connection for connection in paused if connection not in refused]
    still_holding = len(holding) - len(answered(holding))
    for connection in holding:
        connection.sendall(BODY[len(BODY) // 2 :])
    finished = [connection.recv(4096) for connection in holding]

    slowest_s = max(answer.took_s for answer in answers)
    print(f"paused={PAUSING} held={still_holding} refused={len(refused)} others' slowest={slowest_s * 1000:.0f} ms")
    assert (len(refused), still_holding) == (PAUSING - MOST_BODIES, MOST_BODIES)
    assert all(text.startswith(b"HTTP/1.1 503") and b"too_many_bodies" in text for text in refusals)
    assert all(b"retry-after: " in text.lower() for text in refusals)
    assert {answer.status for answer in answers} == {202}
    assert slowest_s < 2
    assert all(text.startswith(b"HTTP/1.1 202") for text in finished)
    hang_up(paused)


def test_clients_that_hang_up_in_their_bodies_give_the_threads_back(serve: Serve) -> None:
    node, key = serve()

    def all_of_its_share_is_free() -> bool:
        """Whether as many bodies as a tenant may send are being read at once: none of them is answered with a 503."""
        paused = [pause_in_the_middle(node.port, key) for _ in range(MOST_BODIES)]
        refused = poll_until(lambda: bool(answered(paused)), 0.5)
        hang_up(paused)
        return not refused

    hang_up([pause_in_the_middle(node.port, key) for _ in range(3 * MOST_BODIES)])
    is_free_again = poll_until(all_of_its_share_is_free, 30)
    with Client(node.port, key) as acme:
        served = poll_until(lambda: acme.post("/api/logs/batch", BODY).status == 202, 20)

    assert is_free_again
    assert served
