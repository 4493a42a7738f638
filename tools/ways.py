"""The network between roles, which can be cut: everybody reaches a server through a door of its own.

Who comes through a door is told by the process that holds the other end, so that roles need not know of it.
"""
import asyncio
import contextlib
import os
import socket
import struct

RESET = struct.pack("ii", 1, 0)


class Ways:
    """All doors. `who` returns the processes of the cluster: their names by their ids."""

    def __init__(self, who):
        self.who = who
        self.servers = []
        self.tasks = set()
        # Pairs of names between which nothing passes, and how: "hole" swallows, "reset" refuses.
        self.cuts = {}
        self.mended = asyncio.Event()
        self.open = []
        # By pair: bytes that passed, and what met a cut.
        self.passed, self.met = {}, {}

    async def door(self, server, port, target):
        """Opens the door at `port` of a server that listens at `target`."""

        async def enter(reader, writer):
            task = asyncio.current_task()
            self.tasks.add(task)
            try:
                await self.carry(server, port, target, reader, writer)
            except (OSError, asyncio.CancelledError):
                # An end of the connection is gone, or all of them are to be.
                pass
            finally:
                self.tasks.discard(task)
                writer.transport.abort()

        self.servers.append(await asyncio.start_server(enter, "127.0.0.1", port, backlog=256))

    async def carry(self, server, port, target, reader, writer):
        client = await self.named(writer.get_extra_info("peername")[1], port)
        if client is None:
            # A tool, or a process that is gone. It may not be what gets through a cut unseen.
            if any(server in pair for pair in self.cuts):
                return
            client = "tools"
        pair = frozenset((client, server))
        await self.passable(pair)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        entry = (pair, writer.transport)
        self.open.append(entry)
        try:
            both = [self.pump(pair, reader, far_writer), self.pump(pair, far_reader, writer)]
            await asyncio.gather(*both)
        finally:
            self.open.remove(entry)
            far_writer.transport.abort()

    async def pump(self, pair, reader, writer):
        while data := await reader.read(1 << 16):
            await self.passable(pair)
            self.passed[pair] = self.passed.get(pair, 0) + len(data)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def passable(self, pair):
        """Returns when nothing is between the two; raises where it is to be refused."""
        while how := self.cuts.get(pair):
            self.met[pair] = self.met.get(pair, 0) + 1
            if how == "reset":
                raise ConnectionResetError
            await self.mended.wait()

    def cut(self, one, other, how):
        """Lets nothing pass between two roles. Returns what `mend` wants to know."""
        pair = frozenset((one, other))
        self.cuts[pair] = how
        self.mended.clear()
        self.met[pair] = 0
        if how == "reset":
            for connected, transport in list(self.open):
                if connected == pair:
                    self.met[pair] += 1
                    reset(transport)
        return pair, self.passed.get(pair, 0)

    def mend(self, cut):
        """Ends a cut. Returns whether nothing passed meanwhile, and how much met it."""
        pair, before = cut
        sound = self.cuts.pop(pair, None) is not None and self.passed.get(pair, 0) == before
        # Whose pair is still cut goes on waiting.
        self.mended.set()
        self.mended = asyncio.Event()
        return sound, self.met[pair]

    async def named(self, source, port):
        """Returns the name of the role that connected from a port, or None when it is none."""
        for _ in range(3):
            if (inode := inode_of(source, port)) is not None:
                for pid, name in self.who().items():
                    if holds(pid, inode):
                        return name
            await asyncio.sleep(0.01)
        return None

    async def close(self):
        for server in self.servers:
            server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def reset(transport):
    """Ends a connection as a machine does that knows nothing of it."""
    if (connection := transport.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


def inode_of(source, port):
    """Returns the number of the socket of this machine that is connected from one port of it to another."""
    ends = f"0100007F:{source:04X}", f"0100007F:{port:04X}"
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if (fields[1], fields[2]) == ends:
                return fields[9]
    return None


def holds(pid, inode):
    wanted = f"socket:[{inode}]"
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") == wanted:
                    return True
    except OSError:
        # It has ended.
        pass
    return False
