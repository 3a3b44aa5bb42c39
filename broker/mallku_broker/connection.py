"""A connection to the broker that comes back by itself, with every wait and buffer bounded.

It is nats-py's client with these differences, each of which has a test:

* every error of the server but a refusal leads to a reconnect, where nats-py closes for good;
* a dead peer is dropped at once, where nats-py waits until its write buffer was taken;
* an attempt that failed half-way leaves no socket open, where nats-py leaves it to the collector;
* a ping follows what was sent before it, where nats-py's overtakes what still waits, so that its
  `flush` says nothing about a subscription or its end;
* a ping whose waiter is gone does no harm, where nats-py's reader ends;
* with TLS asked for, a server that offers none is refused, where nats-py goes on in the clear;
* TLS files are read again for each reconnect, where nats-py keeps what it was given;
* `post` and `listen` carry a message without a task, a queue or a timer of its own;
* a burst begins to leave while it is made, where nats-py waits until the loop comes round.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import nats.errors
from nats.aio.client import PING_PROTO, Client, Server, Srv
from nats.aio.subscription import Subscription
from nats.protocol import command

from mallku_broker.connection_settings import ConnectionSettings, connect_options
from mallku_broker.events import ConnectionEvent, ConnectionLost, EventKind
from mallku_broker.headers import NO_HEADERS
from mallku_broker.tls import explain, tls_context
from mallku_broker.transport import AbortableTransport
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, MessageTooLarge

__all__ = ["ConnectionSettings", "GatewayConnection", "Listener", "Watcher", "connect"]

Listener = Callable[[str, str, bytes, bytes | None], None]
"""Gets subject, reply, body and header block of each message; must neither wait nor raise."""

Watcher = Callable[[ConnectionEvent], None]

BURST_MESSAGES: Final = 16
"""Messages after which a burst begins to leave, while whoever makes it is still busy with it."""


async def connect(
    settings: ConnectionSettings,
    *,
    name: str,
    inbox_prefix: str,
    on_event: Watcher | None = None,
) -> GatewayConnection:
    """Connect, and stay connected until `close` is called.

    Args:
        name: Shown in the broker's monitoring.
        inbox_prefix: Where answers to this connection go; `subjects.inbox_prefix(principal)`.
        on_event: Told of every disconnect, reconnect and error; must not raise.

    Raises:
        GatewayUnreachable: nobody let us in within `connect_timeout_s`; lists what was tried.
        ConfigurationError: a file is missing, open to others or no key; a URL or certificate is
            wrong; the server refuses these credentials.
    """
    options = connect_options(settings)
    connection = GatewayConnection(settings, name)
    if on_event is not None:
        connection.watch(on_event)
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            await connection.open(inbox_prefix, options)
    except TimeoutError:
        await connection.close()
        tried = "; ".join(f"{url}: {why}" for url, why in connection.failures.items())
        raise GatewayUnreachable(
            f"no broker let us in within {settings.connect_timeout_s} s: "
            + (tried or f"{settings.url}: no answer")
        ) from None
    except BaseException:
        await connection.close()
        raise
    return connection


class GatewayConnection(Client):
    """One connection; made by `connect`.

    Attributes:
        inbox_prefix: Where answers to this connection go; a dot and more tokens follow.
        failures: Why the last attempt at each server failed, by its address.
    """

    def __init__(self, settings: ConnectionSettings, name: str) -> None:
        super().__init__()
        self.name = name
        self.inbox_prefix = ""
        self.failures: dict[str, str] = {}
        self._transport = self._wire = AbortableTransport()
        self._settings = settings
        self._watchers: list[Watcher] = []
        self._listeners: dict[int, Listener] = {}
        self._sids: dict[Subscription, int] = {}
        self._established = False
        self._give_up_at = math.inf
        self._why = ""
        self._up = asyncio.Event()
        self._kick: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._kick.set_result(None)

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` what happens to the connection from now on; it must not raise."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Stop telling `watcher`."""
        self._watchers.remove(watcher)

    async def listen(self, subject: str, listener: Listener, *, queue: str = "") -> Subscription:
        """Subscribe, and call `listener` for each message as it is read, in order.

        There is no queue in between and nothing is dropped; whoever listens bounds what it accepts.
        End it with `unlisten`.
        """
        sid = self._sid + 1  # the number that `subscribe` takes before it waits for anything
        self._listeners[sid] = listener
        try:
            subscription = await self.subscribe(subject, queue=queue)
        except nats.errors.Error as error:
            del self._listeners[sid]
            raise ConnectionLost(f"{self.name}: {error}", sent=False) from error
        self._sids[subscription] = sid
        return subscription

    async def unlisten(self, subscription: Subscription) -> None:
        """Unsubscribe; messages that are under way already are not delivered any more."""
        self._listeners.pop(self._sids.pop(subscription, 0), None)
        if not (self.is_closed or self.is_draining):
            await subscription.unsubscribe()

    async def retire(self, subscriptions: Sequence[Subscription]) -> None:
        """Unsubscribe, and return when everything the server sent until then was delivered.

        While the connection is down nothing can come, and nothing is subscribed to again.
        """
        if not (self.is_closed or self.is_draining):
            for subscription in subscriptions:
                await subscription.unsubscribe()
            if self._up.is_set():
                await self.flush()
        for subscription in subscriptions:
            self._listeners.pop(self._sids.pop(subscription, 0), None)

    @property
    def is_up(self) -> bool:
        """Whether messages can be sent now."""
        return self._up.is_set()

    @property
    def congested(self) -> bool:
        """Whether more waits to be sent than `pending_bytes`: see `relief`."""
        return self._pending_data_size > self._max_pending_size

    @property
    def pending_bytes(self) -> int:
        """What waits to be handed to the operating system, bytes."""
        return int(self._pending_data_size)

    def post(
        self, subject: str, body: bytes, *, reply: str = "", header: bytes = NO_HEADERS
    ) -> None:
        """Hand over a message for sending and return at once; messages leave in this order.

        Args:
            subject: Made of checked names (`subjects`); it is not looked at again.
            header: A block of `encode_headers`.

        Raises:
            ConnectionLost: the connection is down; nothing was kept.
            MessageTooLarge: header and body are larger than the server takes.
        """
        if not self._up.is_set():
            raise ConnectionLost(f"{self.name}: not connected", sent=False)
        if len(header) + len(body) > self._max_payload:
            raise MessageTooLarge(
                f"a message of {len(header) + len(body)} bytes with its headers; "
                f"the broker takes {self._max_payload}"
            )
        if header:
            line = command.hpub_cmd(subject, reply, header, body)
        else:
            line = command.pub_cmd(subject, reply, body)
        self._pending.append(line)
        self._pending_data_size += len(line)
        if len(self._pending) >= BURST_MESSAGES and self._wire.idle:
            self._wire.writelines(self._pending)  # type: ignore[no-untyped-call]  # nats-py
            self._pending, self._pending_data_size = [], 0
        elif self._flush_queue is not None and self._flush_queue.empty():
            self._flush_queue.put_nowait(self._kick)

    async def relief(self) -> None:
        """Return when what waits to be sent was handed to the operating system.

        Unbounded by itself while the peer takes nothing: wait for it under a timeout.
        """
        if self._flush_queue is not None and self._up.is_set():
            flushed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            await self._flush_queue.put(flushed)
            await flushed

    def abort(self) -> None:
        """Drop the wire; the connection comes back by itself, over the server that failed least."""
        self._wire.abort()

    async def connected(self) -> None:
        """Return when the connection is up; wait for it under a timeout.

        Raises:
            ConnectionLost: it was closed and will not come back.
        """
        if self.is_closed and self._established:
            raise ConnectionLost(f"{self.name}: closed", sent=False)
        await self._up.wait()

    async def open(self, inbox_prefix: str, options: dict[str, Any]) -> None:
        """Connect for the first time; called by `connect`, with what it read from files."""
        settings, self.inbox_prefix = self._settings, inbox_prefix
        self._give_up_at = asyncio.get_running_loop().time() + settings.connect_timeout_s
        await super().connect(
            settings.urls,
            name=self.name,
            inbox_prefix=inbox_prefix,
            error_cb=self._on_error,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            lame_duck_mode_cb=self._on_lame_duck,
            reconnect_to_server_handler=self._next_server,
            reconnect_time_wait=settings.reconnect_min_wait_s,  # type: ignore[arg-type]  # any number
            connect_timeout=settings.attempt_timeout_s,  # type: ignore[arg-type]  # any number
            ping_interval=settings.ping_interval_s,  # type: ignore[arg-type]  # any number
            max_outstanding_pings=settings.max_outstanding_pings,
            max_reconnect_attempts=-1,
            pending_size=settings.pending_bytes,
            flush_timeout=settings.close_timeout_s,
            no_echo=True,
            **options,
        )
        self._established = True
        self._give_up_at = math.inf
        self._up.set()

    async def close(self) -> None:
        """Close for good within `close_timeout_s`; what could not be sent by then is dropped."""
        limit = self._settings.close_timeout_s
        try:
            async with asyncio.timeout(limit / 2):
                await self.relief()
        except TimeoutError:
            self._pending.clear()
            self._pending_data_size = 0
            self._wire.abort()
        self._up.clear()
        # Not by cancelling, which nats-py swallows in places: without its transport it ends.
        guard = asyncio.get_running_loop().call_later(limit / 2, self._wire.abort)
        try:
            await super().close()
        finally:
            guard.cancel()

    # What follows is called by nats-py.

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        listener = self._listeners.get(sid)
        if listener is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            # The server lets a token through that is no text; an error here would end the reader.
            listener(
                subject.decode("utf-8", "replace"), reply.decode("utf-8", "replace"), data, headers
            )

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_pong(self) -> None:
        # The waiter of an earlier ping may have been cancelled; setting its result would raise
        # inside the reader and end it.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg or self.is_connecting:
            await super()._process_err(err_msg)
            return
        error = nats.errors.Error(f"nats: {err_msg.strip(chr(39))}")
        await self._on_error(error)
        await self._process_op_err(error)

    async def _process_op_err(self, e: Exception) -> None:
        self._why = str(e) or type(e).__name__
        await super()._process_op_err(e)

    async def _attempt_reconnect(self) -> None:
        self._up.clear()
        self._wire.abort()
        self._tell(EventKind.DISCONNECTED, self._why)
        await super()._attempt_reconnect()

    async def _connect_to_server(self, s: Srv) -> None:
        if asyncio.get_running_loop().time() > self._give_up_at:
            # The cancellation by `connect` was swallowed: `asyncio.wait_for` of Python 3.11 does
            # so when what it waits for is done in the same moment.
            raise asyncio.CancelledError
        self._read_tls_again()
        try:
            await super()._connect_to_server(s)
        except (OSError, TimeoutError) as error:
            self._remember(s, error)
            raise

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except (OSError, TimeoutError, nats.errors.Error) as error:
            self._remember(self._current_server, error)
            if not self._established:
                self._refuse_hopeless(error)
            raise

    def _connect_command(self) -> bytes:
        # The last moment before anything of ours is sent. nats-py has used TLS if the server
        # asked for it, and only then.
        if self._settings.needs_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error("nats: the server offers no TLS")
        return super()._connect_command()

    # Private parts.

    def _next_server(
        self, servers: list[Server], _info: dict[str, Any]
    ) -> tuple[Server | None, float]:
        """The server that failed least, and a wait that doubles with its failures, with jitter."""
        server = min(servers, key=lambda each: each.reconnects)
        settings = self._settings
        longest = settings.reconnect_min_wait_s * 2.0 ** min(server.reconnects, 16)
        wait = min(longest, settings.reconnect_max_wait_s)
        return server, wait * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, hides nothing

    def _read_tls_again(self) -> None:
        """Certificates may have been renewed since; what cannot be used is told and not taken."""
        if not (self._established and self._settings.needs_tls):
            return
        try:
            self.options["tls"] = tls_context(self._settings.tls_files)
        except ConfigurationError as error:
            self._tell(EventKind.ERROR, error.message)

    def _remember(self, server: Srv | None, error: BaseException) -> None:
        if server is not None:
            self.failures[server.uri.netloc] = str(error) or type(error).__name__

    def _refuse_hopeless(self, error: BaseException) -> None:
        """A first connection gives up early where another try would end the same way."""
        server = self._current_server.uri.netloc if self._current_server else self._settings.url
        if why := explain(error, server, self._settings.tls_files):
            raise ConfigurationError(why) from None
        text = str(error).lower()
        if "authorization violation" in text or "offers no tls" in text:
            source = self._settings.credentials or "no credentials file was given"
            raise ConfigurationError(f"the broker refuses us: {error} ({source})") from None

    def _tell(self, kind: EventKind, detail: str = "", subject: str = "") -> None:
        event = ConnectionEvent(kind, self.name, detail, subject)
        for watcher in tuple(self._watchers):
            watcher(event)

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        if "permissions violation" in text:
            _, _, quoted = text.partition('"')
            self._tell(EventKind.REFUSED, text, quoted.partition('"')[0])
        else:
            self._tell(EventKind.ERROR, text or type(error).__name__)

    async def _on_reconnected(self) -> None:
        self._up.set()
        self._tell(EventKind.RECONNECTED)

    async def _on_closed(self) -> None:
        self._up.clear()
        self._tell(EventKind.CLOSED)

    async def _on_lame_duck(self) -> None:
        self._tell(EventKind.LAME_DUCK)
