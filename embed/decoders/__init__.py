"""Decoding beside the job: in processes of their own, as many at once as there are cores, within a limit of memory."""

from embed.decoders.decoding import Decoding, Processes, Threads, close_idle
from embed.decoders.memory import Memory
from embed.decoders.settings import Settings
from embed.decoders.work import Made

__all__ = ["Decoding", "Made", "Memory", "Processes", "Settings", "Threads", "close_idle"]
