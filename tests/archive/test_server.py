"""Read lists of a server with the faults of the real one. test_fetch_metadata.py tests the selection from them."""

import pytest
from fetching import NETWORK
from neurovault_ica.archive.server import Gap, get_collection, get_image, list_collections, list_images
from neurovault_ica.net.answers import FetchError
from neurovault_ica.net.client import connect
from neurovault_server import Archive, Faults, Server

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.fixture
def ask():
    """Call a function with a client whose server has these faults."""

    def call(archive, function, *arguments, misbehave=(), **faults):
        with Server(archive, faults=Faults(**faults)) as server, connect(server.url, NETWORK, probe="/api/") as client:
            for address, kind in misbehave:
                server.misbehave(address, always=kind)
            return function(client, *arguments), server

    return call


def ids(listing):
    return [record["id"] for record in listing.records]


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 205, 731])
def test_lists_of_any_length_are_complete(ask, size):
    listing, server = ask(Archive.small(dict.fromkeys(range(size), 0)), list_collections)
    assert ids(listing) == list(range(size))
    assert (listing.unreadable, listing.missing) == (0, 0)
    assert server.count("/api/collections/") <= size // 100 + 1 + NETWORK["connections"]


@pytest.mark.parametrize("unordered", [True, "window", "plan"])
@pytest.mark.parametrize("size", [150, 1500])
def test_a_list_without_order_is_read_until_it_is_complete(ask, unordered, size):
    listing, _ = ask(Archive.small(dict.fromkeys(range(1, size + 1), 0)), list_collections, unordered=unordered)
    assert ids(listing) == list(range(1, size + 1))
    assert (listing.unreadable, listing.missing) == (0, 0)


def test_records_that_the_server_counts_but_never_shows_are_reported(ask, caplog):
    listing, server = ask(Archive.small(dict.fromkeys(range(1, 251), 0)), list_collections, wrong_count=7)
    assert (len(listing.records), listing.unreadable, listing.missing) == (250, 0, 7)
    assert "the server counts 257 rows but shows only 250" in caplog.text
    assert server.count("limit=1000") >= 1
    assert len(server.asked) < 40


def test_an_unreadable_record_is_counted_once_where_pages_overlap(ask):
    archive = Archive.small(dict.fromkeys(range(1, 251), 0))
    listing, _ = ask(archive, list_collections, poisoned_collections={60, 61, 70}, wrong_count=5)
    assert (len(listing.records), listing.unreadable, listing.missing) == (247, 3, 5)


@pytest.mark.parametrize("poisoned", [{1}, {150}, {57}, {100, 101}, {3, 77, 149}, set(range(40, 60))])
def test_only_unreadable_records_are_left_out(ask, poisoned):
    listing, _ = ask(Archive.small(dict.fromkeys(range(1, 151), 0)), list_collections, poisoned_collections=poisoned)
    assert ids(listing) == sorted(set(range(1, 151)) - poisoned)
    assert (listing.unreadable, listing.missing) == (len(poisoned), 0)


def test_compressed_json_in_chunks_is_read(ask):
    listing, server = ask(Archive.small(dict.fromkeys(range(1, 151), 0)), list_collections, is_packed=True)
    assert ids(listing) == list(range(1, 151))
    assert "gzip" in server.headers[0]["Accept-Encoding"]


@pytest.mark.parametrize(
    ("newer", "older"),
    [("2012-06-01T10:00:00Z", "2010"), ("2012-06-01T00:45:00Z", "2012-06-01T02:30:00+02:00")],
    ids=["year", "time zone"],
)
def test_the_newer_of_two_versions_is_used(ask, newer, older):
    archive = Archive.small({1: 2})
    archive.images[101]["modify_date"] = newer
    archive.images[99] = archive.images[101] | {"modify_date": older, "name": "older"}
    listing, _ = ask(archive, list_images, 1)
    assert [record["name"] for record in listing.records] == ["map 101", "map 102"]


def test_rows_that_are_not_records_are_counted(ask):
    archive = Archive.small({1: 1})
    archive.collections |= {"a": {"id": "1"}, "b": {"id": True}, "c": {"id": -1}, "d": {"id": 2**63}, "e": {"id": None}}
    listing, _ = ask(archive, list_collections)
    assert (ids(listing), listing.unreadable) == ([1], 5)


def test_single_records_are_found_or_none(ask):
    archive = Archive.small({1: 2})
    assert ask(archive, get_image, 101)[0]["id"] == 101
    assert ask(archive, get_collection, 1)[0]["name"] == "Study 1"
    assert ask(archive, get_image, 7)[0] is None
    assert ask(archive, get_image, 101, poisoned_images={101})[0] is None
    assert ask(archive, get_image, 101, misbehave=[("/api/images/", "504")])[0] is None
    with pytest.raises(FetchError, match="status 502"):
        ask(archive, get_image, 101, misbehave=[("/api/images/", "502")])


def test_a_server_that_answers_500_to_everything_is_an_error(ask):
    archive = Archive.small(dict.fromkeys(range(1, 201), 0))
    with pytest.raises(FetchError, match="status 500"):
        ask(archive, list_collections, misbehave=[("/api/collections/", "500")])


@pytest.mark.parametrize("n_bad", [30, 99, 130])
def test_records_after_many_unreadable_ones_are_found(ask, n_bad):
    archive = Archive.small({1: 160})
    listing, _ = ask(archive, list_images, 1, poisoned_images=set(range(101, 101 + n_bad)))
    assert ids(listing) == list(range(101 + n_bad, 261))
    assert (listing.unreadable, listing.missing) == (n_bad, 0)


@pytest.mark.parametrize("n_bad", [60, 120])
def test_many_unreadable_collections_do_not_affect_the_others(ask, n_bad):
    archive = Archive.small(dict.fromkeys(range(1, 161), 0))
    listing, _ = ask(archive, list_collections, poisoned_collections=set(range(1, 1 + n_bad)))
    assert ids(listing) == list(range(1 + n_bad, 161))
    assert (listing.unreadable, listing.missing) == (n_bad, 0)


def test_a_list_with_only_unreadable_records_is_counted(ask):
    archive = Archive.small({1: 75})
    listing, _ = ask(archive, list_images, 1, poisoned_images=set(range(101, 176)))
    assert (ids(listing), listing.unreadable, listing.missing) == ([], 75, 0)


@pytest.mark.parametrize("how", ["500", "502", "504", "silence_at_once", "deep", "digits", "form", "html", "refuse"])
def test_a_page_that_fails_in_any_way_is_halved(ask, how):
    listing, _ = ask(Archive.small({1: 9}), list_images, 1, poisoned_images={103}, how_poisoned=how)
    assert ids(listing) == [101, 102, *range(104, 110)]
    assert (listing.unreadable, listing.missing, listing.gaps) == (1, 0, [Gap(102, 104, 1)])


@pytest.mark.parametrize("how", ["500", "504", "silence_at_once"])
@pytest.mark.parametrize(
    "passing", [["502", "502"], ["429", "429"], ["refuse", "html"], ["503", "500"], ["500", "502"]]
)
def test_two_passing_errors_beside_an_unreadable_record_lose_nothing(how, passing):
    archive = Archive.small({1: 9})
    faults = Faults(poisoned_images={103}, how_poisoned=how)
    with Server(archive, faults=faults) as server, connect(server.url, NETWORK, probe="/api/") as client:
        server.misbehave("/images/?limit=1&offset=3", *passing)
        server.misbehave("/images/?limit=4&offset=5", *passing)
        # The length of the list is requested before the page is halved.
        server.misbehave("/images/?limit=1&offset=10000000", *passing)
        listing = list_images(client, 1)
    assert ids(listing) == [101, 102, *range(104, 110)]
    assert listing.gaps == [Gap(102, 104, 1)]


@pytest.mark.parametrize("passing", [["502", "502"], ["429", "429"], ["refuse", "refuse"]])
def test_passing_errors_while_the_list_of_collections_is_halved_do_not_stop_the_run(passing):
    archive = Archive.small(dict.fromkeys(range(1, 10), 0))
    faults = Faults(poisoned_collections={5})
    with Server(archive, faults=faults) as server, connect(server.url, NETWORK, probe="/api/") as client:
        server.misbehave("/api/collections/?limit=5&offset=0", *passing)
        server.misbehave("/api/collections/?limit=1&offset=3", *passing)
        listing = list_collections(client)
    assert ids(listing) == [1, 2, 3, 4, 6, 7, 8, 9]
    assert listing.gaps == [Gap(4, 6, 1)]


def test_gaps_are_named_across_pages_and_at_both_ends(ask):
    archive = Archive.small({1: 205})
    poisoned = {101, 102, 200, 201, 305}
    listing, _ = ask(archive, list_images, 1, poisoned_images=poisoned)
    assert ids(listing) == [number for number in range(101, 306) if number not in poisoned]
    assert listing.gaps == [Gap(None, 103, 2), Gap(199, 202, 2), Gap(304, None, 1)]


@pytest.mark.parametrize("wrong_count", [0, 10**12])
@pytest.mark.parametrize("n_images", [1, 3, 250])
def test_reading_an_endless_list_ends(ask, n_images, wrong_count):
    listing, server = ask(Archive.small({1: n_images}), list_images, 1, endless=True, wrong_count=wrong_count)
    assert ids(listing) == list(range(101, 101 + n_images))
    assert server.count("/images/") < 200
