"""The bill of a fake API: what it counts, and by which clock."""

from raysmooth.tune.fake_apis.bill import Bill


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def test_the_busiest_second_is_any_span_of_less_than_one() -> None:
    clock = Clock()
    bill = Bill(clock)
    for moment, pictures in ((10.0, 2), (10.6, 3), (10.9, 1), (11.0, 2), (11.55, 1), (20.0, 4)):
        clock.now = moment
        bill.receive(pictures)
    # 10.0 to 10.9 has 6; 10.6 to 11.55 has 7; 11.0 is a whole second after 10.0.
    assert bill.as_json()["most_in_a_second"] == 7
    assert bill.as_json()["requests"] == 6
    assert bill.as_json()["received"] == 13


def test_pictures_are_distinct_by_their_bytes() -> None:
    bill = Bill()
    bill.charge([b"one", b"two"], "v1")
    bill.charge([b"one"], "v2")
    found = bill.as_json()
    assert (found["billed"], found["distinct"], found["most_times"]) == (3, 2, 2)
    assert found["versions"] == {"v1": 2, "v2": 1}
    assert found["most_billed_in_a_second"] == 3
