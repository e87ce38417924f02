"""`vmrtool` as a program that starts at once: each call is a fork of a process that has torch.

A script of many commands would otherwise spend nearly all its time on importing. What a command
does is the same: its own process, folder, environment, streams and exit code.
"""

import json
import os
import socket
import sys
import traceback
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(call).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(call)
    sys.exit(int(server.recv(16) or b"70"))
"""


def serve(address: str) -> None:
    """Answers calls of the client program until the process is ended."""
    import torch  # noqa: F401 - what every command waits for

    import vmrtool.cli
    import vmrtool.indexing.run
    import vmrtool.search.engine  # noqa: F401

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        while True:
            caller, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _answer(caller)
            caller.close()
            while True:
                try:
                    if os.waitpid(-1, os.WNOHANG)[0] == 0:
                        break
                except ChildProcessError:
                    break


def _answer(caller: socket.socket) -> None:
    """Runs one call in a process of its own and tells its exit code; never returns."""
    head, streams, _, _ = socket.recv_fds(caller, 4, 3)
    size, call = int.from_bytes(head, "big"), b""
    while len(call) < size:
        call += caller.recv(size - len(call))
    words, folder, environment = json.loads(call)
    worker = os.fork()
    if worker == 0:
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        code = _run(words)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    for stream in streams:
        os.close(stream)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    caller.sendall(str(code).encode())
    os._exit(0)


def _run(words: list[str]) -> int:
    from vmrtool.cli import main

    sys.argv = ["vmrtool", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def write_client(path: Path, address: str) -> None:
    """Writes the program that calls the server at `address`."""
    path.write_text(CLIENT.format(python=sys.executable, address=address))
    path.chmod(0o755)


if __name__ == "__main__":
    serve(sys.argv[1])
