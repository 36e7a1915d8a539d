"""Says how an instance's private IPs are reached and leave: run in it by Cloud Assistant, by `multieip verify`.

Takes {"port": 22, "protocol": "tcp", "echo": "HOST:PORT" or "", "seconds": 15, "expected": [private IPs with an EIP, of
all instances that are asked, or none]} and prints one line; both are JSON in zlib in Base64. While it listens, somebody
asks every EIP from outside; what arrives and what is answered is seen on the ENIs themselves (AF_PACKET), before and
after the kernel's routing. It changes nothing. Python 3.6 and up, nothing else.
"""
# Written for the oldest Python that it meets, and for a reader of a log: no paths, no `text=`, and it prints.
# ruff: noqa: PTH123, PTH208, T201, UP021

import base64
import http.client
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib

METADATA = "100.100.100.200"
ETH_P_ALL, IPV4, FOR_US, FROM_US = 3, 0x0800, 0, 4
# An address of no host (RFC 5737): where the route to anywhere leads.
ANYWHERE = "192.0.2.1"


def run(argv):
    """Return exit code and output of a program, code None when it is not there."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False, timeout=30
        )
    except FileNotFoundError:
        return None, ""
    except subprocess.TimeoutExpired:
        return 124, "no answer in 30 s"
    return done.returncode, done.stdout


def ask(method, path, headers):
    """Return what the metadata service says, empty when it says nothing."""
    try:
        service = http.client.HTTPConnection(METADATA, timeout=3)
        service.request(method, "/latest/" + path, headers=headers)
        answer = service.getresponse()
        body = answer.read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    return body if answer.status == 200 else ""


def enis():
    """Return ENIs as (id, interface, private IPs)."""
    token = ask("PUT", "api/token", {"X-aliyun-ecs-metadata-token-ttl-seconds": "60"})
    headers = {"X-aliyun-ecs-metadata-token": token} if token else {}
    found = []
    for name in sorted(os.listdir("/sys/class/net")):
        try:
            with open("/sys/class/net/" + name + "/address") as file:
                mac = file.read().strip()
        except OSError:
            continue
        key = ask("GET", "meta-data/network/interfaces/macs/" + mac + "/network-interface-id", headers)
        if key:
            shown = run(["ip", "-4", "-o", "address", "show", "dev", name])[1].split()
            ips = [shown[n + 1].split("/")[0] for n, word in enumerate(shown) if word == "inet"]
            found.append((key.strip(), name, ips))
    return found


class Listener(threading.Thread):
    """Notes on which interface private IPs are asked and answer, and which packets take another one."""

    def __init__(self, found, protocol, port, expected=()):
        super().__init__(daemon=True)
        self.expected = set(expected)
        self.home = {ip: name for _, name, ips in found for ip in ips}
        self.protocol, self.port = protocol, port
        self.asked, self.answered, self.strays = {}, {}, {}
        self.sockets = []
        for _, name, _ in found:
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            tap.bind((name, ETH_P_ALL))
            self.sockets.append(tap)
        self.ended = threading.Event()

    def run(self):
        """Listen until it is ended."""
        while not self.ended.is_set():
            for tap in select.select(self.sockets, [], [], 0.2)[0]:
                packet, (name, kind, direction, _, _) = tap.recvfrom(256)
                if kind == IPV4 and len(packet) >= 20:
                    self.note(packet, name, direction)

    def note(self, packet, name, direction):
        """Take note of one packet."""
        source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        if direction == FOR_US and target in self.home:
            if self.home[target] != name:
                self.strays[target + " is reached by " + name] = 1
            if self.is_question(packet):
                self.asked.setdefault(target, {})[name] = 1
        elif direction == FROM_US and source in self.home:
            if self.home[source] != name:
                self.strays[source + " leaves by " + name] = 1
            if self.is_answer(packet):
                self.answered.setdefault(source, {})[name] = 1

    def is_question(self, packet):
        """Say whether a packet is what a probe sends: SYN to the port, or an echo request."""
        data = packet[(packet[0] & 15) * 4 :]
        if self.protocol == "icmp":
            return packet[9] == 1 and data[:1] == b"\x08"
        return (
            packet[9] == 6 and len(data) > 13 and struct.unpack("!H", data[2:4])[0] == self.port and data[13] & 18 == 2
        )

    def is_answer(self, packet):
        """Say whether a packet is what a probe waits for: SYN and ACK from the port, or an echo reply."""
        data = packet[(packet[0] & 15) * 4 :]
        if self.protocol == "icmp":
            return packet[9] == 1 and data[:1] == b"\x00"
        return packet[9] == 6 and len(data) > 13 and struct.unpack("!H", data[:2])[0] == self.port and data[13] & 2 == 2

    def has_all(self):
        """Say whether every private IP that somebody asks was asked and has answered."""
        awaited = self.expected.intersection(self.home) if self.expected else self.home
        return all(ip in self.asked and ip in self.answered for ip in awaited)


def seen_as(ip, host, port, results):
    """Note as what an echo sees a connection from a private IP; what failed begins with `!`."""
    try:
        with socket.create_connection((host, port), 5, (ip, 0)) as echo:
            echo.settimeout(5)
            results[ip] = echo.makefile().readline().split()[0]
    except (OSError, IndexError) as error:
        results[ip] = "!" + (str(error) or type(error).__name__)


def main():
    """Listen, call the echo from every private IP, and tell what was seen."""
    wanted = json.loads(zlib.decompress(base64.b64decode(sys.argv[1])).decode())
    end = time.monotonic() + wanted["seconds"]
    code, said = run(["multieip-policy-routing", "check"])
    found = enis()
    listener = Listener(found, wanted["protocol"], wanted["port"], wanted["expected"])
    listener.start()
    seen = {}
    if wanted["echo"]:
        host, _, port = wanted["echo"].rpartition(":")
        waiting = [threading.Thread(target=seen_as, args=(ip, host, int(port), seen)) for ip in listener.home]
        for start in range(0, len(waiting), 32):
            for thread in waiting[start : start + 32]:
                thread.start()
            for thread in waiting[start : start + 32]:
                thread.join()
    routes = {}
    for ip in listener.home:
        words = run(["ip", "-4", "route", "get", ANYWHERE, "from", ip])[1].split()
        routes[ip] = words[words.index("dev") + 1] if "dev" in words else ""
    while time.monotonic() < end and not listener.has_all():
        time.sleep(0.2)
    listener.ended.set()
    listener.join(2)
    told = {
        "check": {"code": code, "said": " ".join(said.split())[:500]},
        "enis": [{"id": key, "dev": name, "ips": ips} for key, name, ips in found],
        "asked": {ip: sorted(names) for ip, names in listener.asked.items()},
        "answered": {ip: sorted(names) for ip, names in listener.answered.items()},
        "seen": seen,
        "routes": routes,
        "strays": sorted(listener.strays)[:20],
    }
    print(base64.b64encode(zlib.compress(json.dumps(told).encode(), 9)).decode())


if __name__ == "__main__":
    main()
