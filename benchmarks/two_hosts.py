"""Two hosts in one Ray cluster index one archive, and then again while one of them is cut off.

    sudo python benchmarks/two_hosts.py

The hosts are network namespaces of this machine, joined by a pair of virtual interfaces (iproute2,
needs root), each with one processor to give. They share the file system, as hosts with a network
share do. It renders an archive, indexes it without Ray, on both hosts, and once more with the
second host's interface taken down in mid-run, and compares the three catalogs. Everything that it
sets up is taken down again.
"""

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from vmrtool.catalog import Catalog

HOSTS = {"vmr-a": "10.213.7.1", "vmr-b": "10.213.7.2"}
LINKS = {"vmr-a": "vmr-va", "vmr-b": "vmr-vb"}
PORT = 6379
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A secret of this cluster's own, which lives as long as it does.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    # A host that does not answer is given up after some 10 s instead of 40.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}


def main() -> None:
    """Runs it all and prints one JSON object; exit code 1 where catalogs differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=6, help="videos to render")
    parser.add_argument("--seconds", type=float, default=12, help="when to cut the second host off")
    chosen = parser.parse_args()
    # So that namespaces are taken down whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="vmr-", dir="/tmp") as name, hosts():
        folder = Path(name)
        vmrtool("demo", "render", f"{folder}/videos", "--videos", str(chosen.videos), "--json")
        told = {"alone": index(folder, "alone.db")}
        print(json.dumps(told), file=sys.stderr, flush=True)
        with cluster(folder / "ray1"):
            told["two_hosts"] = index(folder, "two.db", "vmr-a")
        print(json.dumps(told), file=sys.stderr, flush=True)
        with cluster(folder / "ray2"):
            running = start_index(folder, "cut.db", "vmr-a")
            time.sleep(chosen.seconds)
            told["cut_off_while_running"] = running.poll() is None
            ip("-n", "vmr-b", "link", "set", LINKS["vmr-b"], "down")
            told["cut_off"] = finish(running)
        alone, *others = (contents(folder / name) for name in ("alone.db", "two.db", "cut.db"))
        told["equal"] = [other == alone for other in others]
    print(json.dumps(told, indent=2))
    sys.exit(not all(told["equal"]))


@contextlib.contextmanager
def hosts() -> Iterator[None]:
    """Two namespaces with an interface each, that reach each other and nothing else."""
    try:
        for host in HOSTS:
            ip("netns", "add", host)
        a, b = HOSTS
        ip("link", "add", LINKS[a], "netns", a, "type", "veth", "peer", LINKS[b], "netns", b)
        for host, address in HOSTS.items():
            ip("-n", host, "addr", "add", f"{address}/24", "dev", LINKS[host])
            ip("-n", host, "link", "set", LINKS[host], "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A Ray cluster of both hosts, one processor each."""
    a, b = HOSTS
    common = ["--num-cpus", "1", "--object-store-memory", str(80 << 20)]
    head = ["--head", "--port", str(PORT), "--include-dashboard", "false"]
    try:
        start = (Path(sys.executable).with_name("ray"), "start")
        within(a, *start, *head, *common, "--node-ip-address", HOSTS[a], "--temp-dir", folder)
        join = ["--address", f"{HOSTS[a]}:{PORT}", "--node-ip-address", HOSTS[b]]
        within(b, *start, *join, *common)
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for host in HOSTS:
                pids = subprocess.run(
                    ["ip", "netns", "pids", host], capture_output=True, text=True, check=False
                ).stdout.split()
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), number)
            time.sleep(2)


def within(host: str, *command: object) -> None:
    """Runs a command on a host; ends the program where it fails."""
    done = subprocess.run(
        ["ip", "netns", "exec", host, *map(str, command)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def start_index(folder: Path, catalog: str, host: str | None) -> subprocess.Popen[str]:
    """Starts `vmrtool index`, on a host's Ray cluster or by itself."""
    words = ["index", f"{folder}/videos", "--model", "blocks", "--device", "cpu", "--json"]
    words += ["--catalog", f"{folder}/{catalog}"]
    where = []
    if host is not None:
        words += ["--ray", f"{HOSTS[host]}:{PORT}"]
        where = ["ip", "netns", "exec", host]
    return subprocess.Popen(
        [*where, sys.executable, "-m", "vmrtool", *words],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(running: subprocess.Popen[str]) -> dict[str, object]:
    """What came of a started `vmrtool index`."""
    told = json.loads(running.communicate()[0])
    return {name: told[name] for name in ("indexed", "failed", "seconds_of_video", "elapsed_s")}


def index(folder: Path, catalog: str, host: str | None = None) -> dict[str, object]:
    """As `start_index`, to the end."""
    return finish(start_index(folder, catalog, host))


def contents(path: Path) -> list[object]:
    """Every video of a catalog with its features' bytes."""
    with Catalog.open(path) as catalog:
        extractor = catalog.extractor
        assert extractor is not None
        found: list[object] = []
        for row in catalog.videos():
            stored = catalog.features(row.content_hash or "", extractor.id)
            arrays = [] if stored is None else [array.tobytes() for array in vars(stored).values()]
            found.append((row.path, row.state, row.content_hash, row.facts, arrays))
        return found


def vmrtool(*words: str) -> None:
    """Runs vmrtool by itself."""
    command = [sys.executable, "-m", "vmrtool", *words]
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)


def ip(*words: str) -> None:
    """Runs iproute2."""
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    main()
