"""Processes that were started one per device: the first runs the study, the others train along.

The first one decides everything, and calls each network that must be fitted by name; everyone then
fits it in a child process, which can be ended at any moment, whatever it waits for. What the
processes tell each other goes through a store that the first one holds, as JSON.
"""

import json
import os
import signal
import socket
import time
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from uuid import uuid4

from bids_sexclf import __version__
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.execute import die_with_parent, set_threads

TICK = 0.2
"""Seconds between two looks at the store."""

LOST = 60
"""Seconds without a sign of life after which a process counts as lost."""


@contextmanager
def gathered(run):
    """Gather the processes of a run; when the first one leaves the block, all do.

    Parameters
    ----------
    run : settings.Run
        ``devices`` and ``num_nodes`` are read.

    Yields
    ------
    Team

    Raises
    ------
    InputError
        If other processes were started than asked for.
    ToolError
        If they do not find, or lose, each other.
    """
    from torch.distributed import DistError

    from bids_sexclf.training import nodes

    seat = nodes.take_seat(run.devices, run.num_nodes)
    team = Team(seat, nodes.meet(seat))
    try:
        team.gather(nodes.PATIENCE)
        yield team
    except DistError as fault:
        raise ToolError(
            f"Found process {seat.rank} without the first one ({fault}), needed until the end. "
            "Look at what it says, and run again: what is finished is kept."
        ) from fault
    except BaseException as fault:
        team.dismiss(getattr(fault, "exit_code", 1))
        raise
    else:
        team.dismiss(0)


class Team:
    """One process among those that train together.

    Parameters
    ----------
    seat : training.nodes.Seat
    store : torch.distributed.Store
    """

    def __init__(self, seat, store):
        self.seat, self.store = seat, store
        self.count, self.token = 0, None
        self.beats, self.silent = {}, {}

    @property
    def leads(self):
        """Whether this is the process that runs the study."""
        return self.seat.rank == 0

    def gather(self, patience):
        """Wait for everyone, and make sure that all were given the same command.

        Parameters
        ----------
        patience : float
            Seconds.

        Raises
        ------
        InputError
            If some were not.
        ToolError
            If not all have come in time.
        """
        mine = {"version": __version__, "seats": [self.seat.devices, self.seat.num_nodes]}
        if self.leads:
            self.token = uuid4().hex
            self.store.set("terms", json.dumps(mine | {"token": self.token}))
            self._await_all(patience)
            return
        terms = json.loads(self.store.get("terms"))
        self.token = terms.pop("token")
        again = self.store.add(f"seat/{self.seat.rank}", 1) > 1
        if terms != mine or again:
            told = (
                f"Found process {self.seat.rank} {'twice ' if again else ''}with {mine}, the first "
                f"with {terms}; needed one command for all, and each number once. Correct it."
            )
            self.store.set("refused", told)
            self.leave()
            raise InputError(told)

    def _await_all(self, patience):
        others, until = range(1, self.seat.world), time.monotonic() + patience
        while missing := [r for r in others if not self.store.add(f"seat/{r}", 0)]:
            if time.monotonic() > until:
                raise ToolError(
                    f"Found no process {', '.join(map(str, missing))} of 0 to {others[-1]} within "
                    f"{patience} seconds, needed one for each device. Start all of them."
                )
            time.sleep(TICK)
        if self.store.check(["refused"]):
            raise InputError(self.store.get("refused").decode())

    def call(self, word):
        """Tell the others what comes next.

        Parameters
        ----------
        word : dict
            JSON-able.
        """
        self.count += 1
        self.store.set(f"word/{self.count}", json.dumps(word))

    def listen(self):
        """Wait for what the first process calls next; hours, where it does other work.

        Returns
        -------
        dict
        """
        self.count += 1
        while not self.store.check([f"word/{self.count}"]):
            self._live_on()
            time.sleep(TICK)
        return json.loads(self.store.get(f"word/{self.count}"))

    def dismiss(self, code):
        """Let the others end with this exit code; to be called by the first at its own end."""
        if not self.leads:
            return
        self.call({"end": code})
        until = time.monotonic() + 2 * LOST
        while self.store.add("left", 0) < self.seat.world - 1 and time.monotonic() < until:
            if self._lost():
                return
            time.sleep(TICK)

    def leave(self):
        """Say that this process needs the store no more."""
        self.store.add("left", 1)

    def place(self):
        """Give the seat for the fit that was called last."""
        return replace(self.seat, group=f"{self.token}/{self.count}")

    def work(self, function, job, threads, tell=lambda message: None):
        """Run this process's part of a fit in a child, until it is over for everybody.

        Parameters
        ----------
        function : callable
            Called as ``function(job, tell)`` in the child; importable by name.
        job : object
            Can be pickled.
        threads : int
            Of the child.
        tell : callable
            Told what the child tells.

        Returns
        -------
        ToolError or None
            In the first process: what failed, and in which process.

        Raises
        ------
        ToolError
            If a process no longer answers.
        """
        number, end = self.count, None
        child = Child(function, job, threads)
        try:
            while end is None and not self.store.add(f"{number}/failed", 0):
                end = child.hear(TICK, tell)
                self._live_on(number)
            if end:  # told before the child ends, which makes the others' fail
                told = json.dumps([socket.gethostname(), end])
                self.store.set(f"{number}/fault/{self.seat.rank}", told)
                self.store.add(f"{number}/failed", 1)
        finally:
            child.end(patience=LOST if end == "" else 0)
        self.store.add(f"{number}/ended", 1)
        while self.leads and self.store.add(f"{number}/ended", 0) < self.seat.world:
            self._live_on(number)
            time.sleep(TICK)
        return self._sum_up(number) if self.leads else None

    def _sum_up(self, number):
        """Say in one error what the processes said; None where all went well."""
        if not self.store.add(f"{number}/failed", 0):
            return None
        faults = {}
        for rank in range(self.seat.world):
            if self.store.check([f"{number}/fault/{rank}"]):
                host, told = json.loads(self.store.get(f"{number}/fault/{rank}"))
                faults.setdefault(told, []).append(f"process {rank} on {host}")
        return ToolError(
            "; ".join(f"{told} ({', '.join(where)})" for told, where in faults.items())
        )

    def _live_on(self, number=None):
        """Give a sign of life; in the first process, look for those of the others."""
        if not self.leads:
            self.store.add(f"beat/{self.seat.rank}", 1)
        elif lost := self._lost():
            self.store.add(f"{number}/failed", 1)
            raise ToolError(
                f"Found no sign of life of process {', '.join(map(str, lost))} for {LOST} seconds, "
                "needed all to train together. Look at its machine, and run again: what is "
                "finished is kept."
            )

    def _lost(self):
        """List who has been silent for long; looks are counted, as this process may be halted."""
        for rank in range(1, self.seat.world):
            beats = self.store.add(f"beat/{rank}", 0)
            same = beats == self.beats.get(rank)
            self.silent[rank] = self.silent.get(rank, 0) + 1 if same else 0
            self.beats[rank] = beats
        return [rank for rank, looks in self.silent.items() if looks * TICK > LOST]


class Child:
    """A process of its own that runs one function.

    Parameters
    ----------
    function, job, threads
        As for ``Team.work``.
    """

    def __init__(self, function, job, threads):
        context = get_context("spawn")  # torch holds threads that do not survive a fork
        self.pipe, theirs = context.Pipe()
        given = (os.getpid(), theirs, function, job, threads)
        self.process = context.Process(target=_run, args=given)
        self.process.start()
        theirs.close()

    def hear(self, seconds, tell):
        """Wait so long for what it says; give "" once it is done, else its fault, else None."""
        if not self.pipe.poll(seconds):
            return None
        try:
            done, message = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            return f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if done:
            return message
        tell(message)
        return None

    def end(self, patience):
        """Let it end by itself within so many seconds, or kill it."""
        if patience:
            self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _run(parent, pipe, function, job, threads):
    """Run in the child: tell how it goes and how it ended; after a fault, wait to be ended."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends this process
    set_threads(threads)
    fault = ""
    try:
        function(job, lambda message: pipe.send((False, message)))
    except BaseException as error:
        fault = f"{type(error).__name__}: {error}"
    pipe.send((True, fault))
    if fault:
        pipe.poll(None)
