"""The test kit: the fixture `orion`, fakes, and one conformance suite per port.

A pytest plugin comes with the package: write ``async def test_...(orion)`` and a whole platform runs in process.
"""

from orion_core.testing.authorization import FakeAuthorization
from orion_core.testing.fake import Fake
from orion_core.testing.in_process import InProcess
from orion_core.testing.orion import Orion
from orion_core.testing.person import Person

__all__ = ["Fake", "FakeAuthorization", "InProcess", "Orion", "Person"]
