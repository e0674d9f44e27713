"""Attempts that wait and results that are not acknowledged."""

from __future__ import annotations

from mapreduce.wire import messages as m
from mapreduce.working.ledger import Outbox, Queue, keys_of, subset


def assign(*indexes: int) -> m.Assign:
    return m.Assign(1, 0, 1, tuple((index, 1) for index in indexes))


def test_work_is_handed_out_in_the_order_it_came_batch_by_batch():
    queue, first, second = Queue(), assign(0, 1, 2), assign(3)
    queue.add(first, keys_of(first))
    queue.add(second, keys_of(second))
    assert queue.take(2) == (first, keys_of(first)[:2])
    assert queue.take(2) == (first, keys_of(first)[2:])
    assert queue.take(2) == (second, keys_of(second))
    assert queue.take(2) is None


def test_what_a_dead_slot_left_goes_first():
    queue, first, second = Queue(), assign(0), assign(1)
    queue.add(first, keys_of(first))
    queue.add(second, keys_of(second), front=True)
    assert queue.take(5) == (second, keys_of(second))


def test_dropped_attempts_are_not_handed_out():
    queue, message = Queue(), assign(0, 1, 2)
    queue.add(message, keys_of(message))
    queue.drop(keys_of(message)[1:2] + [(9, 9, 9, 9, 9)])
    assert len(queue) == 2
    assert queue.take(5) == (message, [keys_of(message)[0], keys_of(message)[2]])
    assert queue.take(5) is None and not queue


def test_a_subset_brings_the_inputs_of_its_tasks_only():
    inputs = tuple(m.ReduceInput(index, ()) for index in range(3))
    message = m.Assign(1, 0, 2, ((0, 1), (1, 1), (2, 4)), inputs, previous_setup=b"s")
    part = subset(message, [(1, 0, 2, 2, 4)])
    assert (part.tasks, part.inputs, part.previous_setup) == (((2, 4),), inputs[2:], b"s")


def outbox(count: int) -> Outbox:
    box = Outbox()
    for number in range(count):
        box.add(bytes([number]), [(1, 0, 1, number, 1)])
    return box


def send(box: Outbox) -> list[int]:
    sent = []
    while (frame := box.next()) is not None:
        sent.append(frame[0])
        box.sent()
    return sent


def test_results_are_kept_until_they_are_acknowledged():
    box = outbox(3)
    assert send(box) == [0, 1, 2]
    box.acknowledge(2)
    assert [key[3] for key in box.keys()] == [2]
    box.acknowledge(2)
    assert len(box) == 1
    box.acknowledge(3)
    assert len(box) == 0


def test_a_new_incarnation_sends_and_counts_from_the_start():
    box = outbox(3)
    send(box)
    box.acknowledge(1)
    box.rewind()
    assert send(box) == [1, 2]
    box.acknowledge(1)
    assert [key[3] for key in box.keys()] == [2]


def test_an_acknowledgement_beyond_what_was_sent_takes_nothing_unsent():
    box = outbox(2)
    box.sent()
    box.acknowledge(100)
    assert send(box) == [1]
