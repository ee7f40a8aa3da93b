"""Progress and messages in the log and on the screen."""

import logging

from neurovault_ica.runtime.log import Meter


def test_a_line_has_progress_speed_and_remaining_time():
    meter = Meter(500, unit="image")
    meter.add(120, n_bytes=340_000_000, failed=2)
    assert meter.line(60) == "120 of 500 images, 340 MB, 5.7 MB/s, 3 min left, 2 failed"
    meter.add(380)
    assert meter.line(300) == "500 of 500 images, 340 MB, 1.1 MB/s, 2 failed"


def test_cached_items_do_not_count_in_the_remaining_time():
    meter = Meter(500, unit="image", name="here: ")
    meter.add(400, cached=400)
    assert meter.line(1) == "here: 400 of 500 images (400 in the cache)"
    meter.add(0, n_bytes=5_000_000)
    meter.add(20)
    assert meter.line(20) == "here: 420 of 500 images (400 in the cache), 5 MB, 0.2 MB/s, 80 s left"


def test_line_without_a_total_or_bytes():
    meter = Meter(unit="row")
    meter.add(7)
    assert meter.line(1) == "7 rows"
    meter.add(3, total=40)
    assert meter.line(20) == "10 of 40 rows, 60 s left"


def test_lines_are_at_least_ten_seconds_apart(caplog):
    caplog.set_level(logging.INFO)
    often, seldom = Meter(3, unit="image", every_s=0), Meter(3, unit="image")
    for _ in range(3):
        often.add()
        seldom.add()
    assert [record.message for record in caplog.records if "3 of 3" in record.message] == ["3 of 3 images"]
    assert len(caplog.records) == 3
