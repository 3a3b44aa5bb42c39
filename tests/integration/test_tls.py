"""The whole gateway over TLS, with certificates on both sides: client, workers, auditor."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import psutil
import pytest
import pytest_asyncio

from mallku_broker.connection import GatewayConnection
from mallku_client import SecuredDatabaseInterface
from mallku_contracts.errors import ConfigurationError, PermissionDenied
from mallku_deploy.events import CertificatesRenewed
from tests.integration.world import World, running_world, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A gateway with one worker where everybody speaks TLS."""
    async with running_world(tmp_path_factory.mktemp("secure"), 1, tls=True) as world:
        async with world.client() as client:
            await client.create_collection("memory_anchors")
        yield world


def _certificate(connection: GatewayConnection) -> bytes:
    """What the server showed to this connection."""
    found: ssl.SSLObject = connection._wire._io_writer.get_extra_info("ssl_object")  # type: ignore[union-attr]
    shown = found.getpeercert(binary_form=True)
    assert shown is not None
    return shown


async def test_commands_go_there_and_back(secure: World) -> None:
    """A client with what its environment says works; the auditor reads of it over TLS too."""
    assert secure.gateway.url.startswith("tls://")
    async with secure.client() as client:
        anchors = client.collection("memory_anchors")
        await anchors.insert({"_key": "k1", "kind": "khipu"})
        found = await anchors.get("k1")
        assert found is not None
        assert found["kind"] == "khipu"
    trail = await secure.trail()
    assert "insert" in {record.subject.rpartition(".")[2] for record in trail.records}


async def test_nobody_speaks_in_the_clear(secure: World) -> None:
    """Every connection of the worker's has certificates in its environment, and goes to TLS."""
    (pid,) = secure.workers.values()
    environment = psutil.Process(pid).environ()
    assert environment["MALLKU_WORKER_URL"].startswith("tls://")
    for name in ("CA", "CERT", "KEY"):
        assert environment[f"MALLKU_WORKER_TLS_{name}"].startswith(str(secure.house.root))
    assert "ca.key" not in " ".join(environment.values())


async def test_without_its_files_a_client_is_told_what_is_missing(secure: World) -> None:
    """No CA, no certificate, a foreign authority: a coded error each, before the timeout."""
    whole = secure.client_settings("mallku", connect_timeout_s=20.0)
    server_alone = replace(whole, tls_cert_file=None, tls_key_file=None)
    for settings, says in (
        (replace(server_alone, tls_ca_file=None), "certificate is not believed"),
        (server_alone, "refuses our TLS certificate.*none was given"),
        (replace(whole, url=whole.url.replace("tls:", "nats:"), tls_ca_file=None), "not believed"),  # type: ignore[union-attr]
    ):
        with pytest.raises(ConfigurationError, match=says):
            await SecuredDatabaseInterface.connect(settings=settings)


async def test_a_certificate_opens_the_line_and_nothing_else(secure: World) -> None:
    """With a worker's certificate and its own nkey a caller may do what the caller may."""
    worker = secure.house.worker("worker-1")
    changes = {"tls_cert_file": worker.certificate, "tls_key_file": worker.certificate_key}
    async with secure.client("mallory", **changes) as client:
        with pytest.raises(PermissionDenied):
            await client.collection("memory_anchors").insert({})


async def test_a_renewal_disturbs_nobody(secure: World) -> None:
    """The server's certificate is made anew while a client works: no command fails.

    Who connects afterwards sees the new one.
    """
    async with secure.connection() as before, secure.client() as client:
        former = _certificate(before)
        secure.house.server_certificate.unlink()
        renewed = secure.events.count
        while not renewed(CertificatesRenewed()):
            await client.collection("memory_anchors").insert({"kind": "meanwhile"})
        async with secure.connection() as after:
            assert _certificate(after) != former
        await before.flush()
        assert _certificate(before) == former
        await client.collection("memory_anchors").insert({"kind": "after"})


async def test_a_server_that_comes_back_is_still_believed(secure: World) -> None:
    """After a crash of the server workers and clients shake hands again by themselves."""
    async with secure.client(timeout_s=20.0) as client:
        psutil.Process(secure.gateway.pids["nats-server"]).kill()
        await until("the end of the server", lambda: "nats-server" not in secure.gateway.pids)
        await client.collection("memory_anchors").insert({"kind": "after the crash"})
