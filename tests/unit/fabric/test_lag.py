"""For how long records wait, as an onlooker sees it."""

from __future__ import annotations

from shared.messaging import lag


def test_the_oldest_record_s_age_is_told_as_long_as_it_waits() -> None:
    place = ("topic", 0)
    ages = lag.Ages()
    for now, committed, end in [(0.0, 5, 5), (10.0, 5, 7), (20.0, 5, 9), (25.0, 6, 9)]:
        ages.look(lag.Lag({place: committed}, {place: end}), now)
    assert ages.by_topic(30.0) == {"topic": 20.0}
    ages.look(lag.Lag({place: 7}, {place: 9}), 31.0)
    assert ages.by_topic(31.0) == {"topic": 11.0}
    ages.look(lag.Lag({place: 9}, {place: 9}), 32.0)
    assert ages.by_topic(99.0) == {"topic": 0.0}


def test_ages_of_a_long_lag_stay_few_and_true() -> None:
    place = ("topic", 0)
    ages = lag.Ages()
    for second in range(5_000):
        ages.look(lag.Lag({place: 0}, {place: second + 1}), float(second))
    assert ages.by_topic(5_000.0) == {"topic": 5_000.0}
    assert len(ages._seen[place]) <= lag.MOST_LOOKS
