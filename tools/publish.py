"""Publish a package of components as a collection on NeuroVault.

``python tools/publish.py packages/mine`` shows what would be sent, and sends nothing. With ``--upload``, it creates a
collection and uploads one map for each component, with the token in the environment variable NEUROVAULT_TOKEN. An
interrupted upload continues where it stopped. Nothing is sent twice: before each request that creates something, the
server is asked whether it is there already.

The package pynv makes the same requests. But it has no time limits, and does not check whether a failed upload was
stored. NeuroVault stores some images although it answers with an error, so we look before repeating.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "workflow/scripts"))
from neurovault_ica.archive.archive import open_archive  # noqa: E402
from neurovault_ica.images.maps import Maps, Volume, write_maps  # noqa: E402
from neurovault_ica.naming.component_files import DESCRIPTION, check_components, read_components  # noqa: E402
from upload_server import ATTEMPTS, LOOPBACK, TOKEN, RefusedError, Server, ServerError, wait_after  # noqa: E402

SERVER = "https://neurovault.org"
# NeuroVault's worker has stored a map, or has given up, when this time has passed after a request.
STORE_TIME_S = 120.0
# Pause after an error. The proxy answers with an error after a minute, while the worker may go on for another minute.
# Only then does the server tell whether it has stored the map.
STORE_PAUSE_S = 60.0
# Marks the description of a collection with the checksum of its maps, so that we find our own collection again.
MARK = "maps sha256 "
LONGEST_NAME = 200


class Plan(NamedTuple):
    """What is sent to NeuroVault."""

    collection: dict[str, Any]
    images: list[dict[str, Any]]  # one for each component, in order


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
    generator = dataset["GeneratedBy"][0]
    method = f"independent component analysis across studies ({generator['Name']} {generator.get('Version', '')})"
    link = generator.get("CodeURL", "")
    # With signs: split, an image has two rows.
    n_images = len({image["image_id"] for image in components.images})
    about = (
        f"{len(components.labels)} components of {n_images} statistic maps, by {method}. {link} License:"
        f" {dataset['License']}. {dataset['HowToAcknowledge']}. Unit variance over the mask."
        f" {MARK}{checksum_of(components.maps)}"
    )
    collection = {"name": (name or dataset["Name"])[:LONGEST_NAME], "description": " ".join(about.split())}
    images = [
        {
            "name": f"{label}: {known or 'unnamed'}"[:LONGEST_NAME],
            "description": f"Volume {number} {describe_volume(label)} Found by {method}. {link}".strip(),
            "map_type": "Other",
            "modality": "Other",
            "analysis_level": "M",
            "target_template_image": "GenericMNI",
            "is_thresholded": False,
        }
        for number, (label, known) in enumerate(zip(components.labels, components.names, strict=True))
    ]
    return Plan(collection, images)


def describe_volume(label: str) -> str:
    """Return the part of an image's description that tells which component it is."""
    return f"of the 4-D map: {label}."


def checksum_of(maps: Maps) -> str:
    """Return a checksum of the voxels. The file has names too, which may change when the components are named again."""
    content = hashlib.sha256(maps.inside.tobytes())
    content.update(np.ascontiguousarray(maps.values, dtype="<f4").tobytes())
    return content.hexdigest()


def refuse_simulated(package: Path, url: str) -> None:
    """Refuse to publish the demo, unless the server is on this machine."""
    run = json.loads((package / "run.json").read_text(encoding="utf-8"))
    if open_archive(run["configuration"]["archive"]).is_demo and urlsplit(url).hostname not in LOOPBACK:
        raise ValueError(f"the maps of {package} are simulated; publish components of real images only")


def find_collection(server: Server, plan: Plan) -> int | None:
    """Find the collection that an earlier upload of these maps created, whatever its name is now; None without one.

    Raises
    ------
    RefusedError
        If the user has another collection with this name.
    """
    mark = MARK + plan.collection["description"].rpartition(MARK)[2]
    records = server.list_all("my_collections/")
    ours = [int(record["id"]) for record in records if mark in str(record.get("description"))]
    if ours:
        return min(ours)
    for record in records:
        if record.get("name") == plan.collection["name"]:
            raise RefusedError(
                f"you have a collection {record['name']!r} ({server.url}/collections/{record['id']}/) with other maps;"
                " choose another name: --name NAME"
            )
    return None


def publish(package: Path, plan: Plan, server: Server) -> int:
    """Create the collection and upload the images that are not there yet. Return the id of the collection.

    Raises
    ------
    RefusedError
        If the server refuses something for good, or another process uploads this package.
    ServerError
        If the server could not be reached. A second call continues.
    """
    # While this file exists, a request may be under way or may have been interrupted.
    sending = package.resolve().with_name(f".{package.resolve().name}.sending")
    with only_upload(package):
        await_interrupted(sending)
        try:
            number = find_collection(server, plan)
            if number is None:
                number = _create(server, plan, sending)
                print(f"created {server.url}/collections/{number}/")
            else:
                print(f"continuing {server.url}/collections/{number}/")
            _send_missing(server, number, plan, read_components(str(package), "").maps, sending)
        except RefusedError:
            sending.unlink(missing_ok=True)
            raise
        sending.unlink(missing_ok=True)
    return number


@contextmanager
def only_upload(package: Path) -> Iterator[None]:
    """Lock a package. Two uploads at the same time would not see each other's last map, and send it twice.

    The lock ends with the process, even if it is killed.

    Raises
    ------
    RefusedError
        If another process uploads this package.
    """
    file = package / DESCRIPTION
    # Some network file systems lock only files that are opened for writing.
    with file.open("r+b" if os.access(file, os.W_OK) else "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(f"another process uploads {package} already; wait until it has ended") from None
        yield


def _send_missing(server: Server, number: int, plan: Plan, maps: Maps, sending: Path) -> None:
    """Upload the images that are not in the collection."""
    for place, image in enumerate(plan.images):
        for attempt in range(1, ATTEMPTS + 1):
            if _labels_in(server, number, [image]):
                break
            sending.touch()
            try:
                _upload(server, number, maps.volume(place), image)
                print(f"uploaded {image['name']}")
            except OSError as error:
                # The server may have stored the image nevertheless, so the next attempt looks first.
                print(f"{image['name']}: {error}")
                if attempt < ATTEMPTS:
                    wait_after(error, STORE_PAUSE_S)
    present = _labels_in(server, number, plan.images)
    missing = [image["name"] for image in plan.images if label_of(image) not in present]
    if missing:
        raise ServerError(f"{len(missing)} of {len(plan.images)} maps are not there, such as {missing[0]}")


def await_interrupted(sending: Path) -> None:
    """Wait until the server has stored the map that an interrupted call may have sent last. Only then is it listed.

    Parameters
    ----------
    sending : Path
        The file that a call touches before each request, and removes when everything is there.
    """
    left = sending.stat().st_mtime + STORE_TIME_S - time.time() if sending.exists() else 0
    if left > 0:
        print(f"the last upload was interrupted; waiting {left:.0f} s, because the server may still store its last map")
        time.sleep(left)


def _create(server: Server, plan: Plan, sending: Path) -> int:
    """Create the collection. After a failed request, check whether the server created it anyway."""
    for _ in range(ATTEMPTS - 1):
        try:
            return _post_collection(server, plan, sending)
        except OSError as error:
            wait_after(error, STORE_PAUSE_S)
            number = find_collection(server, plan)
            if number is not None:
                return number
    return _post_collection(server, plan, sending)


def _post_collection(server: Server, plan: Plan, sending: Path) -> int:
    sending.touch()
    try:
        return server.create("collections/", json=plan.collection)
    except RefusedError as error:
        # 400 is the answer to a record that is not valid, such as one whose name is taken.
        if error.status != 400:
            raise
        raise RefusedError(f"{error} (if the name is taken, choose another: --name NAME)") from error


def label_of(image: Mapping[str, Any]) -> str:
    """Return the component of an image of the plan."""
    return str(image["name"]).partition(":")[0]


def _labels_in(server: Server, number: int, images: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the components among `images` that are in the collection."""
    records = server.list_all(f"collections/{number}/images/")
    return {label for label in map(label_of, images) if any(_has_label(record, label) for record in records)}


def _has_label(record: Mapping[str, Any], label: str) -> bool:
    """Tell whether a record is a component. Its owner may have changed the name or the description on the website."""
    # NeuroVault adds an underscore and a suffix to the name of a file that exists.
    file = re.fullmatch(rf"(?:.*/)?{re.escape(label)}(?:_\w+)?\.nii\.gz", str(record.get("file")))
    is_described = describe_volume(label) in str(record.get("description"))
    return label_of({"name": record.get("name")}) == label or is_described or file is not None


def _upload(server: Server, number: int, volume: Volume, image: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{label_of(image)}.nii.gz"
        write_maps(str(file), nib.Nifti1Image(volume.data, volume.affine).header, [volume])
        with file.open("rb") as stream:
            server.create(f"collections/{number}/images/", data=image, files={"file": (file.name, stream)})


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
    except ServerError as error:
        sys.exit(f"publish: {error}; run again to continue")
    except (OSError, ValueError, RefusedError) as error:
        sys.exit(f"publish: {error}")
    except KeyboardInterrupt:
        sys.exit("publish: interrupted; run again to continue")
    print(f"Published: {server.url}/collections/{number}/")


if __name__ == "__main__":
    main()
