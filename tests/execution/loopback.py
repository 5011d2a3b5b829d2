"""Run a command with the loopback interface up: in a network namespace of its own it is down."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x41  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING: netdevice(7)


def main(words: list[str]) -> None:
    """Become the command `words`."""
    with socket.socket() as any_socket:
        try:
            request = struct.pack("16sH14x", b"lo", UP_AND_RUNNING)
            fcntl.ioctl(any_socket, SET_FLAGS, request)
        except PermissionError:
            pass  # the machine's own network: it is up
    os.execvp(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1:])
