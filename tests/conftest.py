"""Make this working copy importable, and usable by Ansible, as the collection that it is."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "setup"))

from setup import CACHE, link_collections

COLLECTIONS = CACHE / "collections"

link_collections()
sys.path.insert(0, str(COLLECTIONS))
# Programs that tests start (ansible-playbook, ansible-doc) find this working copy, not an installed version of it.
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
