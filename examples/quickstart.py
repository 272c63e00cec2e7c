"""A platform with one service of one's own, on top of ORION's. Run it: python examples/quickstart.py"""

import abc
import asyncio
import tempfile

import attrs

from orion_core import Contract, Events, Platform, Plugin, Settings, event, on
from orion_core.contracts.auth import Auth, Register, UserRegistered


@event("greeting.spoken", subject="name")
class GreetingSpoken:
    name: str


heard = asyncio.Event()


class Greetings(Contract, name="greetings"):
    @abc.abstractmethod
    async def greet(self, name: str) -> str: ...


@attrs.frozen
class GreetingsService(Greetings):
    events: Events

    async def greet(self, name: str) -> str:
        return f"Hello, {name}!"

    @on(UserRegistered)
    async def welcome(self, event: UserRegistered) -> None:
        await self.events.publish(GreetingSpoken(event.name))
        print(await self.greet(event.name))
        heard.set()


async def main() -> None:
    mine = Plugin("greetings", service=GreetingsService)
    settings = Settings(data_dir=tempfile.mkdtemp())
    async with Platform.load("auth", settings=settings, plugins=[mine]) as orion:
        await orion.service(Auth).register(Register("ada@example.org", "correct horse battery", "Ada"))
        print(await orion.service(Greetings).greet("world"))
        await asyncio.wait_for(heard.wait(), 5)  # the event reaches its listener right after the commit


if __name__ == "__main__":
    asyncio.run(main())
