"""Publish a package of components as a collection on NeuroVault.

``python tools/publish.py packages/mine`` shows what would be sent, and sends nothing. With ``--upload``, it creates a
collection and uploads one map for each component, with the token in the environment variable NEUROVAULT_TOKEN. An
interrupted upload continues where it stopped. Nothing is sent twice: before each request that creates something, the
server is asked whether it is there already.

The package pynv has the same requests, but no time limits, and it leaves open whether a failed upload was stored.
NeuroVault stores some images although it answers with an error, so we look before repeating.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import nibabel as nib
import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "workflow/scripts"))
from neurovault_ica.archive.archive import open_archive  # noqa: E402
from neurovault_ica.images.maps import Volume, write_maps  # noqa: E402
from neurovault_ica.naming.component_files import DESCRIPTION, MAPS, check_components, read_components  # noqa: E402
from neurovault_ica.runtime.files import sha256_of  # noqa: E402

TOKEN = "NEUROVAULT_TOKEN"
SERVER = "https://neurovault.org"
# NeuroVault checks an image while it answers, which takes up to a minute. Its proxy gives up after a minute.
TIMEOUT_S = (20, 120)
ATTEMPTS = 3
READ_PAUSE_S = 5.0
# After a failure, the server may still be storing what we sent: its workers have two minutes, and the proxy gives up
# after one. Only then can we see whether it is there.
STORE_PAUSE_S = 60.0
PAGE = 100
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Marks the description of a collection with the checksum of its maps, so that we find our own collection again.
MARK = "maps sha256 "
LONGEST_NAME = 200


class Plan(NamedTuple):
    """What is sent to NeuroVault."""

    collection: dict[str, Any]
    images: list[dict[str, Any]]  # one for each component, in order


class RefusedError(Exception):
    """The server refuses a request for good."""


class Server:
    """Requests to one NeuroVault with a token, which is sent to this server only.

    Parameters
    ----------
    url : str
        Must be https, unless the server is on this machine.
    token : str
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError(f"{url}: the token would be sent unencrypted; give an address that begins with https://")
        self.url = url.rstrip("/")
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Token {token}"

    def ask(self, method: str, path: str, **content: Any) -> Any:
        """Send one request and return its JSON answer.

        Raises
        ------
        RefusedError
            If repeating the request would not help.
        OSError
            If the connection failed, or the server has a fault of its own.
        """
        answer = self.session.request(
            method, f"{self.url}/api/{path}", timeout=TIMEOUT_S, allow_redirects=False, **content
        )
        if answer.status_code == 401:
            raise RefusedError(
                f"{self.url} refuses the token in {TOKEN}; make a new one in the settings of your account"
            )
        if 300 <= answer.status_code < 500 and answer.status_code != 429:
            raise RefusedError(f"{self.url}/api/{path} answered {answer.status_code}: {answer.text[:500]}")
        if not answer.ok:
            raise OSError(f"{self.url}/api/{path} answered {answer.status_code}")
        try:
            return answer.json()
        except ValueError as error:
            raise OSError(f"{self.url}/api/{path} did not answer with JSON") from error

    def get(self, path: str) -> Any:
        """Get JSON. Temporary failures are repeated, because reading changes nothing."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self.ask("GET", path)
            except OSError:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(READ_PAUSE_S * attempt)
        return None

    def list_all(self, path: str) -> Iterator[dict[str, Any]]:
        """List the records of all pages."""
        offset = 0
        while True:
            page = self.get(f"{path}?limit={PAGE}&offset={offset}")
            if isinstance(page, list):
                yield from page
                return
            yield from page["results"]
            offset += len(page["results"])
            if not page.get("next") or not page["results"]:
                return


def make_plan(package: Path, name: str | None = None) -> Plan:
    """Describe the collection and the images of a package.

    Raises
    ------
    ValueError
        If the folder is not a package.
    """
    if not (package / DESCRIPTION).is_file():
        found = f"lacks {DESCRIPTION}" if package.is_dir() else "is not a folder"
        raise ValueError(f"{package} {found}; write a package first: make package NAME=mine")
    check_components(str(package))
    dataset = json.loads((package / DESCRIPTION).read_text(encoding="utf-8"))
    components = read_components(str(package), "")
    checksum = sha256_of(next(package.glob(MAPS)))
    generator = dataset["GeneratedBy"][0]
    method = f"independent component analysis across studies ({generator['Name']} {generator.get('Version', '')})"
    link = generator.get("CodeURL", "")
    # With signs: split, an image has two rows.
    n_images = len({image["image_id"] for image in components.images})
    about = (
        f"{len(components.labels)} components of {n_images} statistic maps, by {method}. {link} License:"
        f" {dataset['License']}. {dataset['HowToAcknowledge']}. Unit variance over the mask. {MARK}{checksum}"
    )
    collection = {"name": (name or dataset["Name"])[:LONGEST_NAME], "description": " ".join(about.split())}
    images = [
        {
            "name": f"{label}: {known or 'unnamed'}"[:LONGEST_NAME],
            "description": f"Volume {number} of the 4-D map: {label}. Found by {method}. {link}".strip(),
            "map_type": "Other",
            "modality": "Other",
            "analysis_level": "M",
            "target_template_image": "GenericMNI",
            "is_thresholded": False,
        }
        for number, (label, known) in enumerate(zip(components.labels, components.names, strict=True))
    ]
    return Plan(collection, images)


def refuse_simulated(package: Path, url: str) -> None:
    """Refuse to publish the demo, unless the server is on this machine."""
    run = json.loads((package / "run.json").read_text(encoding="utf-8"))
    if open_archive(run["configuration"]["archive"]).is_demo and urlsplit(url).hostname not in LOOPBACK:
        raise ValueError(f"the maps of {package} are simulated; publish components of real images only")


def find_collection(server: Server, plan: Plan) -> int | None:
    """Find the collection that an earlier upload of this package created; None if there is none.

    Raises
    ------
    RefusedError
        If the user has another collection with this name.
    """
    for record in server.list_all("my_collections/"):
        if record["name"] != plan.collection["name"]:
            continue
        if plan.collection["description"].rpartition(MARK)[2] not in str(record.get("description") or ""):
            raise RefusedError(
                f"you have a collection {record['name']!r} ({server.url}/collections/{record['id']}/) with other maps;"
                " choose another name: --name NAME"
            )
        return int(record["id"])
    return None


def publish(package: Path, plan: Plan, server: Server) -> int:
    """Create the collection and upload the images that are not there yet. Return the id of the collection.

    Raises
    ------
    RefusedError
        If the server refuses something for good.
    OSError
        If the server could not be reached. A second call continues.
    """
    number = find_collection(server, plan)
    if number is None:
        number = _create(server, plan)
        print(f"created {server.url}/collections/{number}/")
    else:
        print(f"continuing {server.url}/collections/{number}/")
    maps = read_components(str(package), "").maps
    for place, image in enumerate(plan.images):
        for attempt in range(1, ATTEMPTS + 1):
            if label_of(image) in _labels_in(server, number):
                break
            try:
                _upload(server, number, maps.volume(place), image)
                print(f"uploaded {image['name']}")
            except OSError as error:
                # It may have been stored nevertheless, so the next attempt looks first.
                print(f"{image['name']}: {error}")
                if attempt < ATTEMPTS:
                    time.sleep(STORE_PAUSE_S)
    present = _labels_in(server, number)
    missing = [image["name"] for image in plan.images if label_of(image) not in present]
    if missing:
        raise OSError(
            f"{len(missing)} of {len(plan.images)} maps are not there, such as {missing[0]}; run again to continue"
        )
    return number


def _create(server: Server, plan: Plan) -> int:
    try:
        return int(server.ask("POST", "collections/", json=plan.collection)["id"])
    except OSError:
        time.sleep(STORE_PAUSE_S)
        number = find_collection(server, plan)
        if number is None:
            raise
        return number


def label_of(image: Mapping[str, Any]) -> str:
    """Return the component of an image. The rest of its name may change when the components are named again."""
    return str(image["name"]).partition(":")[0]


def _labels_in(server: Server, number: int) -> set[str]:
    return {label_of(record) for record in server.list_all(f"collections/{number}/images/")}


def _upload(server: Server, number: int, volume: Volume, image: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{label_of(image)}.nii.gz"
        write_maps(str(file), nib.Nifti1Image(volume.data, volume.affine).header, [volume])
        with file.open("rb") as stream:
            server.ask("POST", f"collections/{number}/images/", data=image, files={"file": (file.name, stream)})


def show(plan: Plan, url: str) -> str:
    """Describe a dry run."""
    lines = [f"Nothing was sent. With --upload, {url} gets the collection {plan.collection['name']!r}:"]
    lines += [f"  {key}: {value}" for key, value in plan.collection.items()]
    shared = {key: value for key, value in plan.images[0].items() if key not in ("name", "description")}
    lines += [f"and {len(plan.images)} maps ({', '.join(f'{key} {value}' for key, value in shared.items())}):"]
    lines += [f"  {image['name']}" for image in plan.images]
    return "\n".join(
        [*lines, "NeuroVault distributes all maps under CC0. The package's README has the license of the names."]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Show or send the package that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("package", type=Path, help="a folder that make package wrote")
    parser.add_argument("--upload", action="store_true", help=f"send it, with the token in {TOKEN}")
    parser.add_argument("--name", help="name of the collection; by default, that of the package")
    parser.add_argument("--url", default=SERVER, help="address of the NeuroVault")
    options = parser.parse_args(arguments)
    try:
        plan = make_plan(options.package, options.name)
        if not options.upload:
            print(show(plan, options.url))
            return
        token = os.environ.get(TOKEN, "").strip()
        if not token:
            raise ValueError(f"{TOKEN} is not set; copy your token from the settings of your account on {options.url}")
        server = Server(options.url, token)
        refuse_simulated(options.package, options.url)
        number = publish(options.package, plan, server)
    except (OSError, ValueError, RefusedError) as error:
        sys.exit(f"publish: {error}")
    print(f"Published: {server.url}/collections/{number}/")


if __name__ == "__main__":
    main()
