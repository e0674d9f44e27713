"""What every store promises, as tests that each store's module runs unchanged: subclass `StoreContract` and give the
fixture `store`."""

from __future__ import annotations

import random

import pytest

from mapreduce.store import Store


class StoreContract:
    def test_strings(self, store: Store) -> None:
        assert store.get("a") is None
        store.set("a", b"1")
        store.set("b", b"")
        store.set("a", b"2")
        store.commit()
        assert (store.get("a"), store.get("b")) == (b"2", b"")
        store.delete("a", "nothing")
        store.commit()
        assert store.get("a") is None and store.get("b") == b""

    def test_hashes(self, store: Store) -> None:
        assert store.hgetall("h") == {} and store.hget("h", "x") is None
        store.hset("h", "x", b"1")
        store.hset("h", "y", b"\x00\xff")
        store.hset("h", "x", b"2")
        store.hset("other", "x", b"no")
        store.commit()
        assert store.hgetall("h") == {"x": b"2", "y": b"\x00\xff"}
        assert store.hget("h", "y") == b"\x00\xff"
        store.hdel("h", "x", "z")
        store.commit()
        assert store.hgetall("h") == {"y": b"\x00\xff"}
        store.hdel("h", "y")
        store.commit()
        assert list(store.scan("h")) == []

    def test_lists(self, store: Store) -> None:
        assert store.llen("l") == 0 and store.lrange("l") == []
        store.rpush("l", b"0", b"1")
        store.rpush("l")
        store.rpush("l", b"2")
        store.commit()
        store.rpush("m", b"other")
        store.rpush("l", b"3")
        store.commit()
        assert store.llen("l") == 4
        assert store.lrange("l") == [b"0", b"1", b"2", b"3"]
        assert store.lrange("l", 1, 2) == [b"1", b"2"]
        assert store.lrange("l", -2) == [b"2", b"3"]
        assert store.lrange("l", 0, 99) == [b"0", b"1", b"2", b"3"]
        assert store.lrange("l", -99, 0) == [b"0"]
        assert store.lrange("l", 3, 1) == [] == store.lrange("l", 9)
        assert store.lrange("m") == [b"other"]

    def test_a_deleted_list_begins_anew(self, store: Store) -> None:
        store.rpush("l", b"old", b"older")
        store.rpush("next", b"neighbour")
        store.commit()
        store.delete("l")
        store.rpush("l", b"new")
        store.commit()
        assert store.lrange("l") == [b"new"] and store.lrange("next") == [b"neighbour"]

    def test_scan_finds_every_type_by_prefix_in_order(self, store: Store) -> None:
        store.rpush("job:10:log", b"x")
        store.hset("job:2", "f", b"x")
        store.set("job:10", b"x")
        store.set("jobs", b"x")
        store.set("a", b"x")
        store.set("job:\U0010ffff", b"x")
        store.commit()
        assert list(store.scan("job:")) == ["job:10", "job:10:log", "job:2", "job:\U0010ffff"]
        assert list(store.scan("job:10")) == ["job:10", "job:10:log"]
        assert len(list(store.scan())) == 6
        assert list(store.scan("none")) == []

    def test_nothing_is_seen_before_commit(self, store: Store) -> None:
        store.set("a", b"1")
        store.rpush("l", b"1")
        store.hset("h", "f", b"1")
        assert store.pending == 3
        assert store.get("a") is None and store.lrange("l") == [] and store.hgetall("h") == {}
        store.commit()
        assert store.pending == 0
        assert store.get("a") == b"1" and store.lrange("l") == [b"1"] and store.hgetall("h") == {"f": b"1"}

    def test_text_of_any_script_and_large_values(self, store: Store) -> None:
        value = random.Random(1).randbytes(3_000_000)
        store.set("schlüssel:☃", value)
        store.hset("h", "поле", value[:1000])
        store.commit()
        assert store.get("schlüssel:☃") == value
        assert store.hgetall("h") == {"поле": value[:1000]}

    def test_close_twice(self, store: Store) -> None:
        store.close()
        store.close()

    @pytest.mark.parametrize("seed", range(5))
    def test_random_writes_match_dictionaries(self, store: Store, seed: int) -> None:
        print(f"seed {seed}")
        rng = random.Random(seed)
        strings: dict[str, bytes] = {}
        hashes: dict[str, dict[str, bytes]] = {}
        lists: dict[str, list[bytes]] = {}
        for _ in range(400):
            number, value, field = rng.randrange(4), rng.randbytes(rng.randrange(40)), f"f{rng.randrange(3)}"
            match rng.randrange(6):
                case 0:
                    store.set(f"s{number}", value)
                    strings[f"s{number}"] = value
                case 1:
                    store.hset(f"h{number}", field, value)
                    hashes.setdefault(f"h{number}", {})[field] = value
                case 2:
                    store.hdel(f"h{number}", field)
                    hashes.get(f"h{number}", {}).pop(field, None)
                case 3:
                    store.rpush(f"l{number}", value, value[:3])
                    lists.setdefault(f"l{number}", []).extend([value, value[:3]])
                case 4 if rng.random() < 0.3:
                    key = f"{rng.choice('shl')}{number}"
                    store.delete(key)
                    strings.pop(key, None), hashes.pop(key, None), lists.pop(key, None)
                case _:
                    store.commit()
        store.commit()
        for number in range(4):
            assert store.get(f"s{number}") == strings.get(f"s{number}")
            assert store.hgetall(f"h{number}") == hashes.get(f"h{number}", {})
            assert store.lrange(f"l{number}") == lists.get(f"l{number}", [])
