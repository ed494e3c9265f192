"""Several processes, one per device: the first runs the study, the others assist in training.

The first process makes all decisions, and calls each network to fit by name. All processes then fit
it in child processes, which can be ended at any time. The processes exchange JSON through a store
of the first one.
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
    """Connect the processes of a run; all leave the block when the first one does.

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
        If the number of processes differs from the settings.
    ToolError
        If processes do not find each other, or lose the connection.
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
        """Wait for all processes, and check that they have the same command.

        Parameters
        ----------
        patience : float
            Seconds.

        Raises
        ------
        InputError
            If commands differ.
        ToolError
            If a process is missing.
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
            refusal = (
                f"Found process {self.seat.rank} {'twice ' if again else ''}with {mine}, the first "
                f"with {terms}; needed one command for all, and each number once. Correct it."
            )
            self.store.set("refused", refusal)
            self.leave()
            raise InputError(refusal)

    def _await_all(self, patience):
        ranks, until = range(1, self.seat.world), time.monotonic() + patience
        while missing := [r for r in ranks if not self.store.add(f"seat/{r}", 0)]:
            if time.monotonic() > until:
                raise ToolError(
                    f"Found no process {', '.join(map(str, missing))} of 0 to {ranks[-1]} within "
                    f"{patience} seconds, needed one for each device. Start all of them."
                )
            time.sleep(TICK)
        if self.store.check(["refused"]):
            raise InputError(self.store.get("refused").decode())

    def call(self, word):
        """Send the next job to the other processes.

        Parameters
        ----------
        word : dict
            JSON-able.
        """
        self.count += 1
        self.store.set(f"word/{self.count}", json.dumps(word))

    def listen(self):
        """Wait for the next job of the first process, which may take hours.

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
        """End the other processes with an exit code; called by the first process at its end."""
        if not self.leads:
            return
        self.call({"end": code})
        until = time.monotonic() + 2 * LOST
        while self.store.add("left", 0) < self.seat.world - 1 and time.monotonic() < until:
            if self._lost():
                return
            time.sleep(TICK)

    def leave(self):
        """Report that this process no longer needs the store."""
        self.store.add("left", 1)

    def place(self):
        """Return the rank of this process for the current fit."""
        return replace(self.seat, group=f"{self.token}/{self.count}")

    def work(self, function, job, threads, tell=lambda message: None):
        """Run the part of this process in a fit, in a child, until all processes have ended.

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
            In the first process: the faults, with their processes.

        Raises
        ------
        ToolError
            If a process no longer responds.
        """
        number, end = self.count, None
        child = Child(function, job, threads)
        try:
            while end is None and not self.store.add(f"{number}/failed", 0):
                end = child.hear(TICK, tell)
                self._live_on(number)
            if end:  # reported before the child ends, which makes the other children fail
                fault_text = json.dumps([socket.gethostname(), end])
                self.store.set(f"{number}/fault/{self.seat.rank}", fault_text)
                self.store.add(f"{number}/failed", 1)
        finally:
            child.end(patience=LOST if end == "" else 0)
        self.store.add(f"{number}/ended", 1)
        while self.leads and self.store.add(f"{number}/ended", 0) < self.seat.world:
            self._live_on(number)
            time.sleep(TICK)
        return self._sum_up(number) if self.leads else None

    def _sum_up(self, number):
        """Return one error with the faults of all processes, or None."""
        if not self.store.add(f"{number}/failed", 0):
            return None
        faults = {}
        for rank in range(self.seat.world):
            if self.store.check([f"{number}/fault/{rank}"]):
                host, message = json.loads(self.store.get(f"{number}/fault/{rank}"))
                faults.setdefault(message, []).append(f"process {rank} on {host}")
        return ToolError(
            "; ".join(f"{message} ({', '.join(places)})" for message, places in faults.items())
        )

    def _live_on(self, number=None):
        """Send a heartbeat; in the first process, check those of the others."""
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
        """List silent processes; checks are counted, since this process may have been suspended."""
        for rank in range(1, self.seat.world):
            beats = self.store.add(f"beat/{rank}", 0)
            unchanged = beats == self.beats.get(rank)
            self.silent[rank] = self.silent.get(rank, 0) + 1 if unchanged else 0
            self.beats[rank] = beats
        return [rank for rank, looks in self.silent.items() if looks * TICK > LOST]


class Child:
    """A child process that runs one function.

    Parameters
    ----------
    function, job, threads
        As for ``Team.work``.
    """

    def __init__(self, function, job, threads):
        context = get_context("spawn")  # threads of torch do not survive a fork
        self.pipe, theirs = context.Pipe()
        arguments = (os.getpid(), theirs, function, job, threads)
        self.process = context.Process(target=_run, args=arguments)
        self.process.start()
        theirs.close()

    def hear(self, seconds, tell):
        """Wait for a message; return "" at the end, a text for a fault, or None."""
        if not self.pipe.poll(seconds):
            return None
        try:
            has_ended, message = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            return f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if has_ended:
            return message
        tell(message)
        return None

    def end(self, patience):
        """Wait for its end for some seconds, then kill it."""
        if patience:
            self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _run(parent, pipe, function, job, threads):
    """Run the function in the child, and report progress and end; after a fault, wait."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it, and ends this process
    set_threads(threads)
    fault = ""
    try:
        function(job, lambda message: pipe.send((False, message)))
    except BaseException as error:
        fault = f"{type(error).__name__}: {error}"
    pipe.send((True, fault))
    if fault:
        pipe.poll(None)
