"""Memory of batches that is shared with loader processes and used again and again.

A tensor that a loader process sends lies in a new file of shared memory, whose pages the kernel
makes, clears, maps twice and takes back: for small images that costs as much as decoding them.
Here a piece of memory that was mapped before the processes forked is lent to one batch, and is
free again when the last tensor on it dies.
"""

from __future__ import annotations

import itertools
import math
import mmap
import weakref
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info


class SharedPool:
    """Slots of anonymous shared memory; each loader process has its own, so nothing is locked.

    Where processes are not forked they have no pool, and tensors travel as they always do.

    Args:
        num_workers: Loader processes.
        num_bytes: Size of a slot.
    """

    # two batches are on their way from each process, and one is in use
    SLOTS: ClassVar[int] = 3
    _known: ClassVar[weakref.WeakValueDictionary[int, SharedPool]] = weakref.WeakValueDictionary()
    _numbers: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(self, num_workers: int, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        slots = num_workers * self.SLOTS
        self._memory = mmap.mmap(-1, slots * num_bytes)
        self._lent = mmap.mmap(-1, slots)  # set by the loader process, cleared by the receiver
        self._address = np.frombuffer(self._memory, np.uint8).ctypes.data
        self.number = next(self._numbers)
        self._known[self.number] = self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # the mappings do not travel

    def take(self, shape: tuple[int, ...]) -> Tensor | None:
        """Uninitialised uint8 of ``shape`` for this loader process; None if no slot fits."""
        worker = get_worker_info()
        if worker is None or math.prod(shape) > self.num_bytes:
            return None
        first = worker.id * self.SLOTS
        for slot in range(first, first + self.SLOTS):
            if not self._lent[slot]:
                self._lent[slot] = 1
                return torch.from_numpy(self._array(slot, shape))
        return None

    @classmethod
    def locate(cls, tensor: Tensor) -> tuple[int, int] | None:
        """Pool and slot of a tensor that this loader process took; None if it lies elsewhere."""
        if get_worker_info() is None:
            return None
        for number, pool in cls._known.items():
            offset = tensor.data_ptr() - pool._address
            if 0 <= offset < len(pool._memory):
                return number, offset // pool.num_bytes
        return None

    @classmethod
    def give_back(cls, tensor: Tensor) -> None:
        """Free the slot of a tensor that this loader process took and will not send."""
        if (place := cls.locate(tensor)) is not None:
            number, slot = place
            cls._known[number]._release(slot)

    @classmethod
    def receive(cls, number: int, slot: int, shape: tuple[int, ...]) -> Tensor:
        """The tensor that was located in a loader process; its death frees the slot."""
        pool = cls._known[number]
        array = pool._array(slot, shape)
        # a tensor's storage keeps the array alive, so the slot is free when all its views are gone
        weakref.finalize(array, pool._release, slot).atexit = False
        return torch.from_numpy(array)

    def _array(self, slot: int, shape: tuple[int, ...]) -> np.ndarray:
        flat = np.frombuffer(
            self._memory, np.uint8, count=math.prod(shape), offset=slot * self.num_bytes
        )
        return np.ndarray(shape, np.uint8, buffer=flat)

    def _release(self, slot: int) -> None:
        self._lent[slot] = 0
