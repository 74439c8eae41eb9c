from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inspector.channel import Channel, FrameChannel
from inspector.records import Frame, LostFrame, Reason, Stamp

PIXELS = np.zeros((2, 2), np.uint8)


def stamp(sequence: int) -> Stamp:
    return Stamp("3", "S", sequence, sequence, sequence * 10, sequence * 10 + 10, 0, 0)


def frame(sequence: int) -> Frame:
    return Frame(stamp(sequence), PIXELS)


def drain(channel: FrameChannel) -> list[Frame | LostFrame]:
    channel.close()
    items = []
    while (item := channel.take(0)) is not None:
        items.append(item)
    return items


def test_an_evicted_frame_keeps_its_place_and_says_why():
    channel = FrameChannel(2)
    for n in range(4):
        assert channel.put(frame(n))
    items = drain(channel)
    assert [item.stamp.sequence for item in items] == [0, 1, 2, 3]
    assert [type(item) for item in items] == [LostFrame, LostFrame, Frame, Frame]
    assert {item.reason for item in items if isinstance(item, LostFrame)} == {Reason.OVERLOAD}
    assert channel.evicted == 2


@given(st.integers(1, 5), st.lists(st.sampled_from(["frame", "lost", "take"]), max_size=60))
def test_no_identity_is_ever_lost_and_pixels_stay_bounded(capacity: int, steps: list[str]):
    channel = FrameChannel(capacity)
    sent, got = 0, []
    for step in steps:
        if step == "take":
            if (item := channel.take(0)) is not None:
                got.append(item.stamp.sequence)
            continue
        item = frame(sent) if step == "frame" else LostFrame(stamp(sent), Reason.FRAME_LOST)
        assert channel.put(item)
        sent += 1
        assert channel.waiting() <= capacity
    got += [item.stamp.sequence for item in drain(channel)]
    assert got == list(range(sent))


def test_the_peak_is_of_frames_with_their_pixels():
    channel = FrameChannel(3)
    for n in range(2):
        channel.put(frame(n))
    for n in range(2, 50):
        channel.put(LostFrame(stamp(n), Reason.FRAME_LOST))
    assert (channel.waiting(), channel.peak) == (2, 2)
    for n in range(50, 60):
        channel.put(frame(n))
    drain(channel)
    assert (channel.waiting(), channel.peak) == (0, 3)


def test_full_of_identities_says_so_instead_of_dropping():
    channel = FrameChannel(1, identities=3)
    assert [channel.put(frame(n)) for n in range(4)] == [True, True, True, False]


def test_a_patient_channel_waits_for_the_taker():
    channel = FrameChannel(1, patient=True)
    taken: list[int] = []

    def take() -> None:
        while not channel.drained:
            if (item := channel.take(5)) is not None:
                assert isinstance(item, Frame)
                taken.append(item.stamp.sequence)

    taker = threading.Thread(target=take)
    taker.start()
    for n in range(50):
        assert channel.put(frame(n))
    channel.close()
    taker.join(10)
    assert taken == list(range(50))
    assert channel.evicted == 0


def test_a_patient_channel_waits_with_what_was_lost_too():
    """A folder of files that can't be read tells them faster than they are answered."""
    channel = FrameChannel(1, identities=2, patient=True)
    taken = []

    def take() -> None:
        while (item := channel.take()) is not None:
            taken.append(item.stamp.sequence)

    for sequence in range(2):
        assert channel.put(LostFrame(stamp(sequence), Reason.FRAME_LOST))
    taker = threading.Timer(0.0, take)
    taker.start()
    for sequence in range(2, 50):
        assert channel.put(LostFrame(stamp(sequence), Reason.FRAME_LOST))
    channel.close()
    taker.join()
    assert taken == list(range(50))


def test_a_patient_channel_lets_go_when_the_line_stops():
    stopping = threading.Event()
    channel = FrameChannel(1, patient=True, stopping=stopping.is_set)
    channel.put(frame(0))
    stopping.set()
    assert channel.put(frame(1))


def test_offer_refuses_when_full_and_after_close():
    channel: Channel[int] = Channel(1)
    assert channel.offer(1)
    assert not channel.offer(2)
    assert channel.take(0) == 1
    channel.close()
    assert not channel.offer(3)
    assert channel.drained


def test_offer_waits_for_room_as_long_as_it_is_told():
    channel: Channel[int] = Channel(1)
    assert channel.offer(1)
    assert not channel.offer(2, 0.01)
    taker = threading.Thread(target=channel.take)
    taker.start()
    assert channel.offer(2, 10)
    taker.join(10)
    closer = threading.Thread(target=channel.close)
    closer.start()
    assert not channel.offer(3, 10)
    closer.join(10)


def test_push_out_returns_the_oldest():
    channel: Channel[int] = Channel(2)
    assert [channel.push_out(n) for n in range(4)] == [None, None, 0, 1]
    assert channel.take(0) == 2


def test_take_waits_no_longer_than_told():
    assert Channel[int](1).take(0.01) is None
