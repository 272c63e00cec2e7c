"""`/users/me` as the documentation of fastapi-users sets it up: SQLAlchemy on SQLite, bearer transport, JWT strategy.

`DATABASE` is the file of the database.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

SECRET = "a secret of nobody, for a benchmark on loopback"


class Base(DeclarativeBase):
    """The tables."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """An account."""


engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['DATABASE']}")
sessions = async_sessionmaker(engine, expire_on_commit=False)


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """Accounts as they come."""

    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


async def user_db() -> AsyncGenerator[SQLAlchemyUserDatabase[User, uuid.UUID], None]:
    """The accounts in the database, in a session for one request."""
    async with sessions() as session:
        yield database(session)


def database(session: AsyncSession) -> SQLAlchemyUserDatabase[User, uuid.UUID]:
    """The accounts in the database."""
    return SQLAlchemyUserDatabase(session, User)


async def user_manager(
    users: Annotated[SQLAlchemyUserDatabase[User, uuid.UUID], Depends(user_db)],
) -> AsyncGenerator[UserManager, None]:
    """The manager for one request."""
    yield UserManager(users)


backend = AuthenticationBackend(
    name="jwt",
    transport=BearerTransport(tokenUrl="auth/jwt/login"),
    get_strategy=lambda: JWTStrategy(secret=SECRET, lifetime_seconds=3600),
)
users = FastAPIUsers[User, uuid.UUID](user_manager, [backend])


class UserRead(schemas.BaseUser[uuid.UUID]):
    """What is answered of an account."""


class UserUpdate(schemas.BaseUserUpdate):
    """What may be changed of an account."""


class UserCreate(schemas.BaseUserCreate):
    """What makes an account."""


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """Make the tables at start."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.include_router(users.get_auth_router(backend), prefix="/auth/jwt")
app.include_router(users.get_register_router(UserRead, UserCreate), prefix="/auth")
app.include_router(users.get_users_router(UserRead, UserUpdate), prefix="/users")
