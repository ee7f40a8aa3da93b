"""What rules ask a cluster for, and what is said of jobs that fail."""

import os
from types import SimpleNamespace

from jobs import growing, last_words


def test_demand_follows_from_the_size_of_the_input_and_the_attempt():
    memory = growing(1000, per_mb=1.5)
    assert memory({}, SimpleNamespace(size_mb=100.0), 1) == 1150
    assert memory({}, SimpleNamespace(size_mb=100.0), 3) == 3450


def test_a_fixed_demand_needs_no_file():
    assert growing(10)({}, None, 2) == 20


def test_logs_of_this_run_that_end_with_an_error_are_quoted(tmp_path):
    texts = {
        "fine": "2026-01-02 03:04:05 INFO 24 images\n",
        "refused": "2026-01-02 03:04:05 INFO 3 images\n2026-01-02 03:04:05 ERROR too few images:\n  one\n",
        "defect": "Traceback (most recent call last):\n  File ...\nKeyError: 'image_id'\n",
        "earlier": "2026-01-02 03:04:05 ERROR of another run\n",
    }
    for number, (name, text) in enumerate(texts.items()):
        (tmp_path / f"{name}.log").write_text(text)
        os.utime(tmp_path / f"{name}.log", (100 - number, 100 - number))
    assert list(last_words(tmp_path, since=98)) == [
        f"{tmp_path}/defect.log: KeyError: 'image_id'",
        f"{tmp_path}/refused.log: too few images:\n  one",
    ]
    assert list(last_words(tmp_path / "nothing", since=0)) == []
