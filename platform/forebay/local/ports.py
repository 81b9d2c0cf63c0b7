"""Free ports of the loopback for local services. Used by `manage.py up` and the tests; holds no state."""

import random
import socket

# Below the range the kernel gives to outgoing connections: a client that keeps connecting to a stopped service's port
# of that range can be given that very port as its own, and then it talks to itself.
_FIRST_PORT, _LAST_PORT = 15_000, 31_999
_ATTEMPTS = 200


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now; connections that linger from an earlier server do not count."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on. Somebody else may take it before the caller does: rare, and the caller is told then."""
    chooser = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = chooser.randint(_FIRST_PORT, _LAST_PORT)
        if port_is_free(host, port):
            return port
    raise OSError(f"no free port on {host} between {_FIRST_PORT} and {_LAST_PORT}")
