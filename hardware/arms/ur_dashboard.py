"""One short conversation with a Universal Robots dashboard server, which answers even when the program on the controller does not."""

import socket
from collections.abc import Sequence

from robo_dream.errors import ArmError

PORT = 29999


def ask(host: str, lines: Sequence[str], timeout: float) -> list[str]:
    """The answer to each line, in order. Raises `ArmError` when one does not come within `timeout` seconds.

    Source: "Dashboard Server e-Series", Universal Robots, article 42728.
    """
    try:
        with socket.create_connection((host, PORT), timeout) as client:
            client.settimeout(timeout)
            reader = client.makefile("r", encoding="ascii", errors="replace", newline="\n")
            reader.readline()  # its welcome
            answers = []
            for line in lines:
                client.sendall(f"{line}\n".encode("ascii"))
                answer = reader.readline().strip()
                if not answer:
                    raise ConnectionError("the connection was closed")
                answers.append(answer)
            return answers
    except OSError as error:
        raise ArmError(
            f"UR {host}: the dashboard server (port {PORT}) does not answer ({error}); check that the controller is on, "
            "the address, the cable, and that its network services are enabled"
        ) from error
