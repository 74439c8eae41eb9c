"""Who may listen: nobody from another machine without a key that the line knows; who tries is told of."""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq
import zmq.auth

from inspector import config
from inspector.bus import security
from inspector.bus.publisher import Publisher
from inspector.bus.subscriber import Subscriber
from inspector.bus.wire import AlarmHeader, Event
from inspector.config import Bus, Site
from inspector.errors import ArtefactError, BusError
from inspector.line import run_line
from tests.talking_line import PATIENCE_S, Quiet, bus_of, make_site, talking, verdict
from tests.test_bus_hearing import read_until


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A plant with keys for the clients "events" and "gateway"."""
    security.generate_keys(tmp_path / "keys", ["events", "gateway"])
    return make_site(tmp_path, keys="keys")


def keys_of_a_stranger(folder: Path) -> Path:
    """The line's public key, and a client's pair that the line doesn't know."""
    security.generate_keys(folder, ["events"])
    (folder / "server.key").write_bytes((folder.parent / "keys" / "server.key").read_bytes())
    return folder


def first_alarm(subscriber: Subscriber) -> AlarmHeader:
    events: list[Event] = []
    for _ in range(round(PATIENCE_S * 10)):
        events += subscriber.read(0.1)
        for event in events:
            if isinstance(event.header, AlarmHeader):
                return event.header
    raise AssertionError("no alarm came")


# -- the door ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "192.0.2.1", "eth0", "127.elsewhere.example"])
def test_open_to_others_without_keys_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(BusError) as caught:
        Publisher(make_site(tmp_path, host=host), "1")
    assert str(caught.value) == (
        f"line 1: tcp://{host}:* can be reached from other machines, which needs keys; "
        "run `inspector keys FOLDER --client NAME` and set bus.keys, or bind 127.0.0.1"
    )


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:5", "tcp://127.8.9.1:5", "tcp://localhost:*", "tcp://[::1]:5", "ipc:///run/l"],
)
def test_this_machine_needs_no_keys(endpoint: str) -> None:
    assert security.is_local(endpoint)


@pytest.mark.parametrize("endpoint", ["tcp://[::1:5521", "tcp://[zz]:5", "tcp://a]:5", "tcp://*:5"])
def test_what_is_no_address_is_not_this_machine(endpoint: str) -> None:
    assert not security.is_local(endpoint)


def test_a_known_key_hears_everything(site: Site) -> None:
    with talking(site) as line:
        bus = bus_of(line.publisher, keys="keys")
        for client in ("events", "gateway"):
            with Subscriber(bus, "1", site.root, client=client) as subscriber:
                events = read_until(subscriber, "state", 1)
        assert events


def test_a_line_that_fails_to_start_says_why_behind_the_door_too(site: Site) -> None:
    """Handshakes are answered by the line itself, which has no time for them while it opens what it needs."""
    text = site.file.read_text().split("[line.12]")[0]
    for name in ("verdicts", "maps", "replay"):
        text = text.replace(f'{name} = "tcp://127.0.0.1:*"', f'{name} = "ipc://{site.root}/{name}"')
    site.file.write_text(text)
    site = config.load(site.file)
    with Subscriber(site.line("1").bus, "1", site.root) as subscriber:
        starting = threading.Thread(target=lambda: suppressed(run_line, site, "1", Quiet()))
        starting.start()
        alarm = first_alarm(subscriber)
        starting.join(PATIENCE_S)
    assert (alarm.severity, alarm.code) == (800, "ArtefactError")
    assert "no such file" in alarm.text


def suppressed(what: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(ArtefactError):
        what(*arguments)


def test_replay_is_behind_the_same_door(site: Site) -> None:
    """A hole is filled over CURVE too."""
    with talking(site) as line:
        line.do(lambda p: [p.publish_verdict(verdict(n)) for n in range(2)])
        with Subscriber(bus_of(line.publisher, keys="keys"), "1", site.root) as subscriber:
            read_until(subscriber, "state", 1)
            subscriber._seq["verdict"] = 0  # as if it had been there before the first verdict
            line.do(lambda p: p.publish_verdict(verdict(2)))
            events = read_until(subscriber, "verdict", 3)
        assert [e.header.seq for e in events if e.kind == "verdict"] == [1, 2, 3]


def test_an_unknown_key_hears_nothing_and_raises_an_alarm(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys_of_a_stranger(tmp_path / "stranger")
    with talking(site) as line:
        known = Subscriber(bus_of(line.publisher, keys="keys"), "1", site.root)
        stranger = Subscriber(bus_of(line.publisher, keys="stranger"), "1", site.root)
        with known, stranger, caplog.at_level(logging.WARNING, "inspector.bus.security"):
            alarm = first_alarm(known)
            assert stranger.read(0.3) == []
    assert (alarm.severity, alarm.code) == (600, "handshake")
    count = re.fullmatch(
        r"line 1: a client without an allowed key was turned away \((\d+) failed handshakes since the start\)",
        alarm.text,
    )
    assert count
    assert int(count[1]) >= 1
    assert alarm.text in caplog.messages
    assert "key" in alarm.action


@pytest.mark.parametrize("mistake", ["no keys at all", "another line's server key"])
def test_other_wrong_doors_raise_an_alarm_too(site: Site, tmp_path: Path, mistake: str) -> None:
    context = zmq.Context()
    try:
        with talking(site) as line, Subscriber(bus_of(line.publisher, keys="keys"), "1", site.root) as known:
            socket = context.socket(zmq.SUB)
            if mistake != "no keys at all":
                security.generate_keys(tmp_path / "other", [])
                client = tmp_path / "keys" / "client-events.key_secret"
                security.secure_client(socket, tmp_path / "other" / "server.key", client)
            socket.subscribe("")
            socket.connect(line.publisher.endpoints[0])
            assert first_alarm(known).code == "handshake"
            assert not socket.poll(200)
    finally:
        context.destroy(linger=0)


def test_a_client_that_keeps_trying_raises_one_alarm_a_second(site: Site, tmp_path: Path) -> None:
    """With another line's server key it tries some ten times a second; the count says so, the bus is not flooded."""
    folder = keys_of_a_stranger(tmp_path / "stranger")
    security.generate_keys(tmp_path / "other", [])
    (folder / "server.key").write_bytes((tmp_path / "other" / "server.key").read_bytes())
    with talking(site) as line:
        known = Subscriber(bus_of(line.publisher, keys="keys"), "1", site.root, ("alarm",))
        stranger = Subscriber(bus_of(line.publisher, keys="stranger"), "1", site.root)
        with known, stranger:
            first = first_alarm(known)
            second = first_alarm(known)
    assert second.seq == first.seq + 1
    assert second.mono_us - first.mono_us >= 1_000_000
    counts = [int(re.findall(r"\d+", alarm.text)[1]) for alarm in (first, second)]
    assert counts[0] < counts[1]


# -- the files ---------------------------------------------------------------------------------------


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_secret_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = security.generate_keys(tmp_path / "keys", ["a", "b"])
    finally:
        os.umask(old)
    assert {str(file.relative_to(tmp_path / "keys")) for file in made} == {
        "server.key",
        "server.key_secret",
        "clients/a.key",
        "clients/b.key",
        "client-a.key_secret",
        "client-b.key_secret",
    }
    assert all(mode(file) == 0o600 for file in made if file.suffix == ".key_secret")
    for client in ("a", "b"):  # what the line gets of a client is its public half
        assert zmq.auth.load_certificate(tmp_path / "keys" / "clients" / f"{client}.key")[1] is None


def test_another_client_does_not_change_the_lines_own_key(tmp_path: Path) -> None:
    security.generate_keys(tmp_path, ["a"])
    before = (tmp_path / "server.key_secret").read_bytes()
    security.generate_keys(tmp_path, ["b"])
    assert (tmp_path / "server.key_secret").read_bytes() == before


def test_a_clients_key_is_never_overwritten(tmp_path: Path) -> None:
    security.generate_keys(tmp_path, ["a"])
    with pytest.raises(BusError, match="client 'a' has a key already; delete it to replace it"):
        security.generate_keys(tmp_path, ["a"])


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a" * 65])
def test_a_clients_name_must_do_as_a_files_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(BusError, match="a name is 1 to 64 letters"):
        security.generate_keys(tmp_path, [name])


def test_a_secret_key_that_others_can_read_is_refused(site: Site) -> None:
    secret = site.root / "keys" / "server.key_secret"
    secret.chmod(0o640)
    with pytest.raises(BusError) as caught:
        Publisher(site, "1")
    assert str(caught.value) == f"line 1: {secret} can be read by others; run `chmod 600 {secret}`"


def test_missing_and_garbled_keys_are_one_sentence(site: Site) -> None:
    keys = site.root / "keys"
    client = keys / "clients" / "gateway.key"
    client.write_text("not a key")
    with pytest.raises(BusError, match=rf"{client}: no usable key \(.*\); delete it, or make"):
        Publisher(site, "1")
    for file in (keys / "clients").iterdir():
        file.unlink()
    with pytest.raises(BusError, match="no client's key, so nobody could listen; run `inspector keys"):
        Publisher(site, "1")
    (keys / "server.key_secret").unlink()
    with pytest.raises(BusError, match=r"server\.key_secret: no usable key \(.*\); run `inspector keys"):
        Publisher(site, "1")


@pytest.mark.parametrize("key", ["", "a" * 39, "a" * 32, "~" * 40, "#" * 40])
def test_a_key_that_is_cut_short_or_garbled_is_one_sentence(site: Site, key: str) -> None:
    keys = site.root / "keys"
    server, client = keys / "server.key_secret", keys / "clients" / "gateway.key"
    whole = {file: file.read_text() for file in (client, server)}
    for file, kind in ((client, "public"), (server, "secret")):
        before, after = re.split(f'(?<={kind}-key = ").*(?=")', whole[file])
        file.write_text(before + key + after)
        with pytest.raises(BusError) as caught:
            Publisher(site, "1")
        assert f"{file}: no usable key (a key in it is cut short or garbled); " in str(caught.value)
        file.write_text(whole[file])
    Publisher(site, "1").close(None)
    secret = keys / "client-events.key_secret"
    before, after = re.split('(?<=secret-key = ").*(?=")', secret.read_text())
    secret.write_text(before + key + after)
    endpoint = "tcp://127.0.0.1:5531"
    bus = Bus(verdicts=endpoint, maps=endpoint, replay=endpoint, keys="keys")
    with pytest.raises(BusError, match=re.escape(f"{secret}: no usable key (a key in it is cut short")):
        Subscriber(bus, "1", site.root)


def test_a_subscriber_without_its_keys_is_told_which_file(site: Site, tmp_path: Path) -> None:
    with talking(site) as line:
        bus = bus_of(line.publisher, keys="keys")
        with pytest.raises(BusError, match=r"client-nobody\.key_secret: no usable key"):
            Subscriber(bus, "1", site.root, client="nobody")
        (tmp_path / "keys" / "server.key").rename(tmp_path / "keys" / "moved")
        with pytest.raises(
            BusError, match=r"server\.key: no usable key .* copy the line's server\.key there"
        ):
            Subscriber(bus, "1", site.root)
