"""The container lab: two gateways, two Exchange stand-ins, a name server and clients on three private networks."""

from lab.errors import LabError
from lab.lab import Lab

__all__ = ["Lab", "LabError"]
