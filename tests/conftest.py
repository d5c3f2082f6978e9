"""Make this working copy importable, and usable by Ansible, as the collection that it is.

Ansible and Python both find a collection by its place: `ansible_collections/NAMESPACE/NAME` below a search path.
A link in the cache gives the working copy that place, whatever its own folder is called.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".cache" / "collections"


def link_collection() -> None:
    """Create `.cache/collections/ansible_collections/postern/mail_gateway`, a link to the root of the working copy.

    Several test processes may do this at once, so the link is made under a name of its own and renamed into place.
    """
    link = COLLECTIONS / "ansible_collections" / "postern" / "mail_gateway"
    if link.is_symlink() and link.resolve() == ROOT:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(ROOT, link.parent))
    fresh.replace(link)


link_collection()
sys.path.insert(0, str(COLLECTIONS))
# Programs that tests start (ansible-playbook, ansible-doc) find this working copy, not an installed version of it.
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
